"""Ask a model about your own pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.device import get_device
from mmengine.registry import DefaultScope
from rich.progress import track
from torch import Tensor, nn

from cmmasksd.apis.feature_cache import FeatureCache
from cmmasksd.apis.pictures import Picture, as_input, name_of
from cmmasksd.apis.prepared import EncodedPicture, PreparedPicture
from cmmasksd.apis.requests import Expressions, as_texts, pair, read_ahead
from cmmasksd.apis.results import ReferringResult
from cmmasksd.apis.sources import find_source
from cmmasksd.checkpoints import load_checkpoint_file, load_weights
from cmmasksd.checkpoints.state_dicts import brief
from cmmasksd.datasets.transforms import TokenizeExpressions
from cmmasksd.datasets.transforms.building import build_pipeline
from cmmasksd.engine.checks import check_tokens
from cmmasksd.engine.leaves import leaf_configs
from cmmasksd.models.distillation.correlation import correlate
from cmmasksd.precision import choose_precision
from cmmasksd.published import build_published, load_published, open_published
from cmmasksd.registry import MODELS
from cmmasksd.structures import EncodedImages, Letterbox

# Steps of a test pipeline that read annotations, which a stranger's picture does not have.
ANNOTATION_STEPS = ('SelectSentences', 'LoadReferringMasks')
PLACEHOLDER = 'picture'  # asked of a picture that is prepared without expressions


class ReferringInferencer:
    """Finds what expressions refer to, in pictures of any size.

    >>> inferencer = ReferringInferencer('vit-b_refcoco', 'checkpoint.pth')
    >>> result, = inferencer('zebras.jpg', ['left zebra', 'the tree'])
    >>> result.masks.shape  # (2, height, width)

    Args:
        config: path of a config, the name of a shipped one, or the config. Of its test data set, the first where
            several are joined, the pipeline is used. Or what has its own weights: a checkpoint with its run's config
            beside it, or the folder of a published model.
        weights: checkpoint file; None: CLIP's weights as far as the config names them, the rest random (of use in tests
            only).
        device: where to run; by default an accelerator if there is one.
        precision: what to compute in, ``float32``, ``bfloat16`` or ``float16``; ``auto``: bfloat16 where the device is
            faster so (:func:`~cmmasksd.precision.choose_precision`); None: as the config says, which is float32.
        cache_bytes: of features of pictures that are kept, so that a picture that comes again costs its sentences
            alone; 0: none are.

    Raises:
        FileNotFoundError: no config of that path or name, or none beside the checkpoint.
        ValueError: an unknown precision, a device that this machine or this build of torch has not, or a config
            without a test pipeline.
        CheckpointError: weights that cannot be read or are another model's.
    """

    def __init__(
        self,
        config: str | Path | Config,
        weights: str | Path | None = None,
        device: str | torch.device | None = None,
        precision: str | None = None,
        cache_bytes: int = 0,
    ) -> None:
        source = find_source(config, weights)
        self.cfg = source.config
        self.device = _find_device(device)
        with DefaultScope.overwrite_default_scope(self.cfg.get('default_scope', 'cmmasksd')):
            self.model: Any = build_published(self.cfg) if source.is_published else MODELS.build(self.cfg.model)
        self.pipeline = self._build_pipeline()
        check_tokens(self.cfg, self.model, loaders=('test_dataloader',))
        if source.weights is None:
            self.model.init_weights()
        elif source.is_published:
            load_published(self.model, source.weights)
        else:
            checkpoint = source.checkpoint or load_checkpoint_file(source.weights)
            load_weights(self.model, checkpoint, str(source.weights))
        self.model.cfg = self.cfg
        self.model.to(self.device).eval()
        if precision is not None:
            self.model.precision = choose_precision(precision, self.device)
        self.cache = FeatureCache(cache_bytes)

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | Path,
        revision: str | None = None,
        device: str | torch.device | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        precision: str | None = None,
        cache_bytes: int = 0,
    ) -> ReferringInferencer:
        """An inferencer of a published model; it runs no code of it, and takes exactly the model's weights.

        Args:
            name_or_folder: a folder that ``tools/misc/publish_model.py --format safetensors`` wrote, or a name on the
                Hugging Face hub (``owner/model``).
            revision: branch, tag or commit on the hub.
            device: by default an accelerator if there is one.
            token, cache_dir: see :func:`~cmmasksd.published.fetch_published`.
            precision, cache_bytes: see the class.

        Raises:
            PublishedError: no such folder, name or revision, a hub that cannot be reached, or a model that is not to
                be trusted.
            ValueError: a device that cannot be used, or an unknown precision.
        """
        folder = open_published(name_or_folder, revision, token, cache_dir).weights.parent
        return cls(folder, device=device, precision=precision, cache_bytes=cache_bytes)

    @classmethod
    def from_model(cls, model: nn.Module) -> ReferringInferencer:
        """An inferencer of a model that is there already; its weights, device and mode are left as they are.

        Args:
            model: with the config that it was built from as ``model.cfg``.

        Raises:
            ValueError: a model without ``cfg``, or a config without a test pipeline.
        """
        if not isinstance(getattr(model, 'cfg', None), Config):
            raise ValueError(
                f'This {type(model).__name__} has no cfg, which says how pictures are prepared: build it by '
                'cmmasksd.apis.init_model, or set model.cfg to its whole config.'
            )
        inferencer = cls.__new__(cls)
        inferencer.cfg, inferencer.model = model.cfg, model
        inferencer.device = next(model.parameters()).device
        inferencer.pipeline = inferencer._build_pipeline()
        inferencer.cache = FeatureCache(0)
        return inferencer

    def __call__(
        self,
        image: Picture | Iterable[Picture],
        expressions: Expressions | Sequence[Expressions],
        batch_size: int = 1,
        show_progress: bool = False,
    ) -> list[ReferringResult]:
        """Segments.

        Args:
            image: a path, PIL image or (height, width, 3) uint8 RGB array; a list of those; a folder, of which all
                pictures are taken by name; or any other iterable of pictures, such as a generator.
            expressions: one expression or several; for a list of images, an equally long list of the same. Of a folder
                and of a generator every picture is asked the same.
            batch_size: pictures that are encoded together.
            show_progress: show a bar.

        Returns:
            One result per image, always in a list. Where that is too much to hold, use :meth:`stream`.

        Raises:
            ValueError: lists of unequal length, no expression or an empty one, a file that is no image or cut off, a
                folder without pictures, a batch size below 1.
            TypeError: an expression that is no string, an array or PIL image of other pixels.
            FileNotFoundError: no such file.
            OSError: a path that cannot be opened.
        """
        pairs, total = pair(image, expressions)
        results = self.stream(pairs, batch_size)
        return list(track(results, 'Segmenting', total=total) if show_progress else results)

    def stream(self, pairs: Iterable[tuple[Picture, Expressions]], batch_size: int = 1) -> Iterator[ReferringResult]:
        """Segments picture after picture, holding no more than a few of them; the next ones are read while the model
        works.

        Args:
            pairs: pictures, each with its expression or expressions.
            batch_size: pictures that are encoded together.

        Yields:
            One result per picture, in order.

        Raises:
            ValueError, TypeError, OSError: as for a call, when the picture's turn comes.
        """
        for batch in read_ahead(self.prepare, pairs, batch_size):
            yield from self.segment(batch)

    def load(self, image: Picture) -> np.ndarray:
        """A picture as it is shown to the model's pipeline: (height, width, 3) uint8 RGB, turned as EXIF says.

        Raises:
            ValueError, TypeError, OSError: as for a call.
        """
        return self.pipeline.transforms[0](as_input(image))['img']

    def prepare(self, image: Picture, expressions: Expressions) -> PreparedPicture:
        """Reads a picture and brings it and its expressions into the form that :meth:`segment` takes. Needs no model:
        several threads may do it at once.

        Raises:
            ValueError, TypeError, OSError: as for a call.
        """
        texts = as_texts(expressions)
        loaded = self.pipeline.transforms[0](dict(as_input(image), texts=texts))
        pixels = loaded['img']
        for step in self.pipeline.transforms[1:]:
            loaded = step(loaded)
        return PreparedPicture(pixels, texts, loaded['inputs'], loaded['data_samples'], name_of(image))

    @torch.inference_mode()
    def segment(self, pictures: Sequence[PreparedPicture]) -> list[ReferringResult]:
        """Segments prepared pictures, all of them in one batch."""
        if not pictures:
            return []
        batch = self._collate(pictures)
        counts = [len(picture.expressions) for picture in pictures]
        index = torch.arange(len(pictures)).repeat_interleave(torch.tensor(counts))
        features = self._encode(pictures, batch['inputs'])
        maps = self._segment(features, batch['input_ids'], index)
        answers = zip(pictures, maps.split(counts))
        return [self._result(picture, picture.expressions, own_maps) for picture, own_maps in answers]

    @torch.inference_mode()
    def encode(self, image: Picture) -> EncodedPicture:
        """Shows the model a picture once, to :meth:`ask` about it as often as one likes.

        Raises:
            ValueError, TypeError, OSError: as for a call.
        """
        prepared = self.prepare(image, PLACEHOLDER)
        features = self._encode([prepared], self._collate([prepared])['inputs'])
        return EncodedPicture(prepared.image, features, prepared.letterbox, prepared.name)

    @torch.inference_mode()
    def ask(self, picture: EncodedPicture, expressions: Expressions) -> ReferringResult:
        """Segments what expressions refer to in a picture that was encoded before; equal to a call but for rounding.

        Raises:
            ValueError, TypeError: expressions as a call refuses them.
        """
        texts = as_texts(expressions)
        ids = self._tokenize(texts, picture.name)
        maps = self._segment(picture.features, ids, torch.zeros(len(ids), dtype=torch.long))
        return self._result(picture, texts, maps)

    @torch.inference_mode()
    def correlate(self, picture: EncodedPicture, expressions: Expressions) -> np.ndarray:
        """Where a picture's patches agree with expressions: what guides LMVSD's masking in training (Eq. 3, Fig. 3).

        Returns:
            (K, height, width) float32, as the picture lies in the model's input, without the letterbox's border: dot
            products in the joint space, of each expression its lowest as 0 and its highest as 1.

        Raises:
            ValueError, TypeError: expressions as a call refuses them.
        """
        model, features = self.model, picture.features
        ids = self._tokenize(as_texts(expressions), picture.name)
        index = torch.zeros(len(ids), dtype=torch.long, device=self.device)
        words = model.embed_text(ids)
        if features.visual is None:
            visual, text = model.encode_pair(features.embeddings, words, ids, index)
            patches = visual.patches
        else:
            visual, text = features.visual, model.encode_text(words, ids)
            patches = visual.patches[index]
        scores = correlate(text.comparable(visual).sentence.float(), patches.float())
        return _correlation_maps(scores.unflatten(1, visual.levels[-1].shape[2:]), picture.letterbox)

    def _collate(self, pictures: Sequence[PreparedPicture]) -> dict[str, Any]:
        inputs, samples = [picture.inputs for picture in pictures], [picture.data_sample for picture in pictures]
        return self.model.data_preprocessor(dict(inputs=inputs, data_samples=samples))

    def _encode(self, pictures: Sequence[PreparedPicture], inputs: Tensor) -> EncodedImages:
        pixels, model = [picture.inputs for picture in pictures], self.model
        return self.cache.encode(pixels, inputs, model.encode_images, model.precision)

    def _segment(self, features: EncodedImages, input_ids: Tensor, image_index: Tensor) -> Tensor:
        """Probabilities (E, h, w) float32 on the logits' grid."""
        chunks = self.model.segment_images(features, input_ids, image_index.to(self.device))
        return torch.cat([logits.sigmoid()[:, 0] for _, logits in chunks])

    def _result(self, picture: PreparedPicture | EncodedPicture, texts: list[str], maps: Tensor) -> ReferringResult:
        model = self.model
        return ReferringResult(
            picture.image, texts, maps, picture.letterbox, model.threshold, model.mask_alignment, picture.name
        )

    def _tokenize(self, texts: list[str], name: str) -> Tensor:
        step = next(step for step in self.pipeline.transforms if isinstance(step, TokenizeExpressions))
        return torch.from_numpy(step(dict(texts=texts, img_path=name))['input_ids']).to(self.device)

    def _build_pipeline(self) -> Compose:
        with DefaultScope.overwrite_default_scope(self.cfg.get('default_scope', 'cmmasksd')):
            return Compose(build_pipeline(self._steps()))

    def _steps(self) -> list[dict[str, Any]]:
        try:
            steps = next(leaf_configs(self.cfg.test_dataloader.dataset)).pipeline
        except AttributeError:
            raise ValueError(
                f'{self.cfg.filename or "The config"} has no test_dataloader.dataset.pipeline, which says how '
                'pictures are prepared: '
                'use a whole config, such as those in configs/cm_masksd.'
            ) from None
        return [step for step in steps if step['type'].rsplit('.')[-1] not in ANNOTATION_STEPS]


def _correlation_maps(scores: Tensor, letterbox: Letterbox) -> np.ndarray:
    """Scores on the patches' grid (K, h, w) -> (K, height, width) in [0, 1], as the picture lies in the input."""
    rows, columns = letterbox.window
    maps = F.interpolate(scores[:, None], size=letterbox.size, mode='bilinear')[:, 0, rows, columns]
    lowest, highest = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return ((maps - lowest) / (highest - lowest).clamp(min=1e-12)).cpu().numpy()


def _find_device(device: str | torch.device | None) -> torch.device:
    try:
        found = torch.device(device or get_device())
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f'device {device!r} cannot be used here ({brief(error, 120)}); give {get_device()!r}, or None'
        ) from error
    return found
