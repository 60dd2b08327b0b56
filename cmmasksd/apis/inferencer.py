"""Ask a model about your own pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.device import get_device
from mmengine.registry import DefaultScope
from PIL import Image, ImageOps
from torch import nn

from cmmasksd.checkpoints import load_checkpoint_file, load_weights
from cmmasksd.checkpoints.state_dicts import brief
from cmmasksd.engine.checks import check_tokens
from cmmasksd.engine.leaves import leaf_configs
from cmmasksd.registry import MODELS, TRANSFORMS
from cmmasksd.shipped import open_config
from cmmasksd.visualization import draw_panel

Picture = str | Path | Image.Image | np.ndarray
Expressions = str | Sequence[str]

# Steps of a test pipeline that read annotations, which a stranger's picture does not have.
ANNOTATION_STEPS = ('SelectSentences', 'LoadReferringMasks')


@dataclass(frozen=True)
class ReferringResult:
    """Answers about one picture.

    Attributes:
        image: (height, width, 3) uint8 RGB.
        expressions: the K expressions asked.
        masks: (K, height, width) bool.
        probabilities: (K, height, width) float32 in [0, 1].
    """

    image: np.ndarray
    expressions: list[str]
    masks: np.ndarray
    probabilities: np.ndarray

    def draw(self) -> np.ndarray:
        """A panel (rows, columns, 3) uint8 RGB: a row an expression, the picture beside its mask."""
        return draw_panel(self.image, self.expressions, self.masks)


class ReferringInferencer:
    """Finds what expressions refer to, in pictures of any size.

    >>> inferencer = ReferringInferencer('vit-b_refcoco', 'checkpoint.pth')
    >>> result, = inferencer('zebras.jpg', ['left zebra', 'the tree'])
    >>> result.masks.shape  # (2, height, width)

    Args:
        config: path of a config, the name of a shipped one, or the config. Of its test data set, the first where
            several are joined, the pipeline is used.
        weights: checkpoint file; None: CLIP's weights as far as the config names them, the rest random (of use in tests
            only).
        device: where to run; by default an accelerator if there is one.

    Raises:
        FileNotFoundError: no config of that path or name.
        ValueError: a device that this machine or this build of torch has not, or a config without a test pipeline.
        CheckpointError: weights that cannot be read or are another model's.
    """

    def __init__(
        self, config: str | Path | Config, weights: str | Path | None = None, device: str | torch.device | None = None
    ) -> None:
        self.cfg = config if isinstance(config, Config) else open_config(config)
        self.device = _find_device(device)
        with DefaultScope.overwrite_default_scope(self.cfg.get('default_scope', 'cmmasksd')):
            self.model = MODELS.build(self.cfg.model)
        self.pipeline = self._build_pipeline()
        check_tokens(self.cfg, self.model, loaders=('test_dataloader',))
        if weights is None:
            self.model.init_weights()
        else:
            load_weights(self.model, load_checkpoint_file(weights), str(weights))
        self.model.cfg = self.cfg
        self.model.to(self.device).eval()

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
        return inferencer

    def __call__(
        self, image: Picture | Sequence[Picture], expressions: Expressions | Sequence[Expressions]
    ) -> list[ReferringResult]:
        """Segments.

        Args:
            image: a path, PIL image or (height, width, 3) uint8 RGB array; or a list of those.
            expressions: one expression or several; for a list of images, an equally long list of the same.

        Returns:
            One result per image, always in a list.

        Raises:
            ValueError: lists of unequal length, no expression or an empty one, a file that is no image or cut off.
            TypeError: an expression that is no string, an array or PIL image of other pixels.
            FileNotFoundError: no such file.
            OSError: a path that cannot be opened.
        """
        if not isinstance(image, (list, tuple)):
            return [self._segment(image, _as_texts(expressions))]  # type: ignore[arg-type]  # whatever is no expression is refused there
        if isinstance(expressions, str) or not hasattr(expressions, '__len__') or len(expressions) != len(image):
            raise ValueError(f'{len(image)} images need a list of {len(image)} expressions (or lists of expressions).')
        asked = [_as_texts(each) for each in expressions]  # all are looked at before the first image is
        return [self._segment(*pair) for pair in zip(image, asked)]

    def load(self, image: Picture) -> np.ndarray:
        """A picture as it is shown to the model's pipeline: (height, width, 3) uint8 RGB, turned as EXIF says.

        Raises:
            ValueError, TypeError, OSError: as for a call.
        """
        return self.pipeline.transforms[0](_as_input(image))['img']

    @torch.inference_mode()
    def _segment(self, image: Picture, texts: list[str]) -> ReferringResult:
        loaded = self.pipeline.transforms[0](dict(_as_input(image), texts=texts))
        pixels = loaded['img']
        for step in self.pipeline.transforms[1:]:
            loaded = step(loaded)
        sample = self.model.test_step(dict(inputs=[loaded['inputs']], data_samples=[loaded['data_samples']]))[0]
        predictions = sample.predictions.cpu().numpy()
        return ReferringResult(pixels, texts, predictions.masks, predictions.probabilities)

    def _build_pipeline(self) -> Compose:
        with DefaultScope.overwrite_default_scope(self.cfg.get('default_scope', 'cmmasksd')):
            return Compose([TRANSFORMS.build(step) for step in self._steps()])

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


def _find_device(device: str | torch.device | None) -> torch.device:
    try:
        found = torch.device(device or get_device())
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f'device {device!r} cannot be used here ({brief(error, 120)}); give {get_device()!r}, or None'
        ) from error
    return found


def _as_input(image: Picture) -> dict[str, Any]:
    if isinstance(image, (str, Path)):
        return dict(img_path=str(image))
    return dict(img=_to_rgb(image) if isinstance(image, Image.Image) else image)


def _to_rgb(image: Image.Image) -> np.ndarray:
    """A PIL image as (height, width, 3) uint8, turned as its EXIF data say; as a file of it would be read."""
    name = getattr(image, 'filename', '') or 'the given picture'
    if image.mode in ('I', 'F'):
        raise TypeError(
            f'{name}: a PIL image of mode {image.mode} (32 bits) has no known range: bring it to 8 bits first.'
        )
    try:
        upright = ImageOps.exif_transpose(image)
    # PIL decodes a file when its pixels are asked for; a broken PNG is a SyntaxError
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f'{name}: the file is truncated or damaged ({error}); fetch it again.') from error
    if upright.mode.startswith('I;16'):  # PIL would take all above 255 for white
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    return np.array(upright.convert('RGB'))


def _as_texts(expressions: Expressions) -> list[str]:
    """One expression or several as a list."""
    listed = not isinstance(expressions, (str, bytes, Mapping)) and isinstance(expressions, Iterable)
    texts: list[Any] = list(expressions) if listed else [expressions]
    if not texts:
        raise ValueError('Ask for at least one expression.')
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(
                f'An expression must be a string, or a list of strings for several of one image; got {text!r:.80}.'
            )
    return texts
