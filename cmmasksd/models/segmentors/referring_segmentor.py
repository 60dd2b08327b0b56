"""The segmentor: the only file that knows the whole flow from image and expressions to masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from cmmasksd.models.building import build_part
from cmmasksd.models.layers import foreign_norms, frozen_statistics, joint_statistics
from cmmasksd.models.mask_alignment import MaskAlignment, check_alignment, logits_to_masks, masks_to_logits
from cmmasksd.models.widths import check_widths
from cmmasksd.precision import PRECISIONS, Precision
from cmmasksd.registry import MODELS
from cmmasksd.structures import (
    BranchFeatures,
    EncodedImages,
    MainBranch,
    TextFeatures,
    VisualFeatures,
    join_branches,
)

Config = dict[str, Any]


@MODELS.register_module()
class ReferringSegmentor(BaseModel):
    """Segments what each expression refers to (Fig. 2); an image is encoded once for all of its expressions.

    Args:
        backbone: image encoder with ``embed_image``, ``encode_image``, ``spread_mask`` and ``embed_dims``; with
            ``needs_text = True`` its features depend on the sentence, and are made for each expression.
        text_encoder: text encoder with ``embed_text``, ``encode_text``, ``embed_dims``.
        neck: with ``project`` (image alone) and ``fuse`` (per expression).
        decode_head: from fused features, words, padding and sentence to logits, with ``loss_decode``.
        bridge: carries features between the layers of the two encoders while they run (ETRIS); see
            :class:`~cmmasksd.models.bridges.StageBridge`. None: the encoders know nothing of one another, but for a
            ``needs_text`` backbone.
        distillation: training-only branches, such as ``[dict(type='LMVSD'), dict(type='VMLSD')]``; their losses are
            named after them.
        data_preprocessor: config; :class:`~cmmasksd.models.ReferringDataPreprocessor` by default.
        threshold: a pixel whose probability is above it belongs to the object (Sec. 4.2).
        mask_alignment: where a logit stands in the input; see :mod:`cmmasksd.models.mask_alignment`.
        expressions_per_chunk: expressions that are fused and decoded together in prediction; bounds memory.
        joint_branches: in training, run neck and decode head once over the main branch and all that share them; False,
            and where they hold batch norms of other projects: once for each, with the same result but for rounding and
            the draws of dropout.
        precision: what prediction computes in: ``float32``, or ``bfloat16`` or ``float16`` by autocast. It stands here
            and not around the loop, for mmengine's loops switch an autocast from outside off. Training follows the
            optimiser's wrapper.

    Attributes:
        distilling: whether the branches take part in training; :class:`~cmmasksd.engine.LateDistillationHook` turns it.

    Raises:
        ValueError: a threshold outside [0, 1), fewer than one expression a chunk, an unknown alignment or precision, or
            a branch named twice; parts whose widths do not fit.
    """

    def __init__(
        self,
        backbone: Config,
        text_encoder: Config,
        neck: Config,
        decode_head: Config,
        bridge: Config | None = None,
        distillation: list[Config] | tuple[Config, ...] = (),
        data_preprocessor: Config | None = None,
        threshold: float = 0.35,
        mask_alignment: MaskAlignment = 'area',
        expressions_per_chunk: int = 16,
        joint_branches: bool = True,
        precision: Precision = 'float32',
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor or dict(type='cmmasksd.ReferringDataPreprocessor'))
        if not 0 <= threshold < 1:
            raise ValueError(f'threshold is compared with probabilities: it must lie in [0, 1), got {threshold}.')
        if expressions_per_chunk < 1:
            raise ValueError(f'expressions_per_chunk must be at least 1, got {expressions_per_chunk}.')
        if precision not in PRECISIONS:
            raise ValueError(f'precision is one of {", ".join(PRECISIONS)}, got {precision!r}.')
        check_alignment(mask_alignment)
        self.backbone = build_part(backbone)
        self.text_encoder = build_part(text_encoder)
        self.neck = build_part(neck)
        check_widths(self.backbone, self.text_encoder, self.neck, dict(neck=neck, decode_head=decode_head))
        self.decode_head = build_part(decode_head)
        self.bridge = None if bridge is None else build_part(bridge, encoders=(self.backbone, self.text_encoder))
        self.distillation = nn.ModuleDict()
        towers = dict(image=self.backbone.embed_dims, text=self.text_encoder.embed_dims)
        for branch in distillation:
            name = branch['type'].rsplit('.')[-1].lower()
            if name in self.distillation:
                raise ValueError(f"The distillation list names '{branch['type']}' twice.")
            self.distillation[name] = build_part(branch, embed_dims=towers, neck=neck, decode_head=decode_head)
        self.threshold = threshold
        self.mask_alignment = mask_alignment
        self.precision = precision
        self.expressions_per_chunk = expressions_per_chunk
        self.joint_branches = joint_branches and not foreign_norms(self.neck, self.decode_head)
        self.distilling = True

    @property
    def image_needs_text(self) -> bool:
        """Whether the image's features depend on the sentence: then there are E of them and not B."""
        return self.bridge is not None or getattr(self.backbone, 'needs_text', False)

    def embed_image(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> patch embeddings (B, M, D)."""
        return self.backbone.embed_image(images)

    def encode_image(
        self, patch_embeddings: Tensor, text: TextFeatures | None = None, image_index: Tensor | None = None
    ) -> VisualFeatures:
        """Patch embeddings (B, M, D), masked or not -> features of B images.

        A backbone that needs the text gives them for E expressions, of which ``image_index`` (E,) says the image.
        """
        return self.backbone.encode_image(patch_embeddings, text, image_index)

    def spread_mask(self, masked: Tensor) -> Tensor:
        """A mask on the patches of the features (E, N) -> on the patch embeddings (E, M); often the same."""
        return self.backbone.spread_mask(masked)

    def embed_text(self, input_ids: Tensor) -> Tensor:
        """Token ids (E, L) -> word embeddings (E, L, D_t)."""
        return self.text_encoder.embed_text(input_ids)

    def encode_text(self, word_embeddings: Tensor, input_ids: Tensor) -> TextFeatures:
        """Word embeddings (E, L, D_t), masked or not -> text features."""
        return self.text_encoder.encode_text(word_embeddings, input_ids)

    def encode_pair(
        self,
        patch_embeddings: Tensor,
        word_embeddings: Tensor,
        input_ids: Tensor,
        image_index: Tensor | None = None,
        text: TextFeatures | None = None,
    ) -> tuple[VisualFeatures, TextFeatures]:
        """Both encoders, whatever they have to do with one another: what all who need both sides call.

        Args:
            patch_embeddings: (B, M, D), masked or not.
            word_embeddings: (E, L, D_t), masked or not.
            input_ids: token ids (E, L).
            image_index: (E,) the image of each expression; None: one expression an image, in order.
            text: what these words gave before; saves encoding them again where no image changes them.

        Returns:
            features of the B images, or, where ``image_needs_text``, of the E expressions; and of the E expressions.
        """
        if self.bridge is not None:
            encoders = self.backbone, self.text_encoder
            return self.bridge(*encoders, patch_embeddings, word_embeddings, input_ids, image_index)
        text = self.encode_text(word_embeddings, input_ids) if text is None else text
        return self.encode_image(patch_embeddings, text, image_index), text

    def project(self, visual: VisualFeatures, neck: nn.Module | None = None) -> tuple[Tensor, ...]:
        """What the neck (the segmentor's own by default) makes of the image alone."""
        return (neck or self.neck).project(visual.levels)

    def fuse(
        self, projected: tuple[Tensor, ...], sentence: Tensor, image_index: Tensor | None, neck: nn.Module | None = None
    ) -> Tensor:
        """Projections of B images and sentences (E, C) -> fused (E, channels, h, w)."""
        return (neck or self.neck).fuse(projected, sentence, image_index)

    def decode(self, fused: Tensor, text: TextFeatures, decode_head: nn.Module | None = None) -> Tensor:
        """Fused features and text features of the same E expressions -> logits (E, 1, 4h, 4w)."""
        return (decode_head or self.decode_head)(fused, text.words, text.padding, text.sentence)

    def forward(
        self,
        inputs: Tensor,
        input_ids: Tensor,
        image_index: Tensor | None = None,
        masks: Tensor | None = None,
        data_samples: list[SegDataSample] | None = None,
        mode: str = 'tensor',
    ) -> Tensor | dict[str, Tensor] | list[SegDataSample]:
        """mmengine's entry.

        Args:
            inputs: normalised images (B, 3, H, W).
            input_ids: token ids (E, L).
            image_index: (E,) the image of each expression; None: one expression an image, in order.
            masks: ground truth (E, 1, H, W), float in [0, 1]; for ``loss``.
            data_samples: the B samples with their ``letterbox``; for ``predict``.
            mode: ``loss``, ``predict`` or ``tensor``.

        Returns:
            ``loss``: the losses by name; ``predict``: the data samples with their predictions; ``tensor``: logits (E,
                1, 4h, 4w).
        """
        if mode == 'tensor':
            return self.segment(self.encode(inputs, input_ids, image_index))
        if mode == 'loss' and masks is not None:
            return self.loss(inputs, input_ids, image_index, masks)
        if mode == 'predict' and data_samples is not None:
            return self.predict(inputs, input_ids, image_index, data_samples)
        raise ValueError(f"mode is 'loss' (with masks), 'predict' (with data_samples) or 'tensor', got '{mode}'.")

    def encode(self, inputs: Tensor, input_ids: Tensor, image_index: Tensor | None = None) -> MainBranch:
        """The main branch up to the neck (Eq. 1), with what the distillation branches start from."""
        patch_embeddings, word_embeddings = self.embed_image(inputs), self.embed_text(input_ids)
        visual, text = self.encode_pair(patch_embeddings, word_embeddings, input_ids, image_index)
        return MainBranch(
            projected=self.project(visual),
            text=text,
            image_index=None if self.image_needs_text else image_index,
            patch_embeddings=patch_embeddings,
            embedding_index=image_index,
            word_embeddings=word_embeddings,
            input_ids=input_ids,
            visual=visual,
        )

    def segment(
        self, branch: BranchFeatures, neck: nn.Module | None = None, decode_head: nn.Module | None = None
    ) -> Tensor:
        """Fuses and decodes one branch (Eq. 2): logits (E, 1, 4h, 4w)."""
        fused = self.fuse(branch.projected, branch.text.sentence, branch.image_index, neck)
        return self.decode(fused, branch.text, decode_head)

    def segment_students(
        self, main: MainBranch, students: Mapping[str, BranchFeatures]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Segments the main branch and the students, each by the neck and decode head of its branch.

        Returns:
            The main branch's logits (E, 1, 4h, 4w), and those of each student by the branch's name.
        """
        shared = {name: student for name, student in students.items() if self.distillation[name].shared}
        main_logits, *shared_logits = self._segment_jointly([main, *shared.values()])
        logits = dict(zip(shared, shared_logits))
        for name, student in students.items():
            if name not in shared:
                branch: Any = self.distillation[name]
                logits[name] = self.segment(student, branch.neck, branch.decode_head)
        return main_logits, logits

    def _segment_jointly(self, branches: Sequence[BranchFeatures]) -> tuple[Tensor, ...]:
        """Segments branches that share the segmentor's own neck and decode head.

        Each is normalised by itself; running statistics follow the first one.
        """
        if self.joint_branches and len(branches) > 1:
            with joint_statistics(len(branches), self.neck, self.decode_head):
                return self.segment(join_branches(branches)).chunk(len(branches))
        first = self.segment(branches[0])
        with frozen_statistics(self.neck, self.decode_head):
            return first, *(self.segment(branch) for branch in branches[1:])

    def loss(self, inputs: Tensor, input_ids: Tensor, image_index: Tensor | None, masks: Tensor) -> dict[str, Tensor]:
        """The losses of Eq. 9, at the logits' size, in float32."""
        main = self.encode(inputs, input_ids, image_index)
        if not self.distilling:
            main_logits = self.segment(main)
            target = masks_to_logits(masks, main_logits.shape[2:], self.mask_alignment)
            return self.decode_head.loss_decode(main_logits, target, 'loss_seg') | self._resting_losses(main_logits)
        with frozen_statistics(*(part for name, part in self.named_children() if name != 'distillation')):
            students = {name: branch.student(self, main) for name, branch in self.distillation.items()}
        main_logits, logits = self.segment_students(main, students)
        target = masks_to_logits(masks, main_logits.shape[2:], self.mask_alignment)
        losses = self.decode_head.loss_decode(main_logits, target, 'loss_seg')
        for name, branch in self.distillation.items():
            losses |= branch.loss(logits[name], main_logits, f'loss_{name}', target)
        return losses

    def _resting_losses(self, like: Tensor) -> dict[str, Tensor]:
        """Losses of 0 of branches that do not take part; through them their parameters get gradients of 0, which DDP
        awaits (FSDP, whose parameters are shards, does not).
        """
        zero, losses = like.new_zeros(()), {}
        for name, branch in self.distillation.items():
            own = [parameter.sum() * 0 for parameter in branch.parameters() if not hasattr(parameter, 'to_local')]
            losses[f'loss_{name}'] = sum(own, start=zero)
        return losses

    def predict(
        self, inputs: Tensor, input_ids: Tensor, image_index: Tensor | None, data_samples: list[SegDataSample]
    ) -> list[SegDataSample]:
        """Adds ``predictions`` to every sample.

        These are masks (K, height, width) bool and probabilities (K, height, width) float32, at the picture's own size.
        """
        image_index = torch.arange(len(inputs), device=inputs.device) if image_index is None else image_index
        probabilities: list[list[Tensor]] = [[] for _ in data_samples]
        for start, logits in self.segment_images(self.encode_images(inputs), input_ids, image_index):
            maps = logits_to_masks(logits.sigmoid(), inputs.shape[2:], self.mask_alignment)[:, 0]  # (e, H, W)
            chunk = image_index[start : start + len(logits)]
            images, counts = chunk.unique_consecutive(return_counts=True)
            for image, image_maps in zip(images.tolist(), maps.split(counts.tolist())):
                probabilities[image].append(data_samples[image].letterbox.undo(image_maps))
        for sample, parts in zip(data_samples, probabilities):
            stacked = torch.cat(parts)
            sample.predictions = InstanceData(masks=stacked > self.threshold, probabilities=stacked)
        return data_samples

    def encode_images(self, inputs: Tensor) -> EncodedImages:
        """Normalised images (B, 3, H, W) -> what all their expressions share, in this segmentor's ``precision``."""
        with self._autocast(inputs):
            embeddings = self.embed_image(inputs)
            if self.image_needs_text:
                return EncodedImages(embeddings, None, None)
            visual = self.encode_image(embeddings)
            return EncodedImages(embeddings, visual, self.project(visual))

    def segment_images(
        self, images: EncodedImages, input_ids: Tensor, image_index: Tensor
    ) -> Iterator[tuple[int, Tensor]]:
        """Segments E expressions of encoded images, ``expressions_per_chunk`` at a time.

        Images whose features depend on the sentence are encoded in the chunks.

        Args:
            images: of :meth:`encode_images`.
            input_ids: token ids (E, L).
            image_index: (E,) the image of each expression.

        Yields:
            The place of a chunk's first expression, and the chunk's logits (e, 1, 4h, 4w) in float32.
        """
        with self._autocast(input_ids):
            words = self.embed_text(input_ids)
            text = None if self.image_needs_text else self.encode_text(words, input_ids)
        for start in range(0, len(input_ids), self.expressions_per_chunk):
            chunk = slice(start, start + self.expressions_per_chunk)
            index = image_index[chunk]
            with self._autocast(input_ids):
                if images.projected is None or text is None:
                    visual, own = self.encode_pair(images.embeddings, words[chunk], input_ids[chunk], index)
                    fused = self.fuse(self.project(visual), own.sentence, None)
                else:
                    own = text[chunk]
                    fused = self.fuse(images.projected, own.sentence, index)
                logits = self.decode(fused, own)
            yield start, logits.float()

    def _autocast(self, inputs: Tensor) -> AbstractContextManager:
        if self.precision == 'float32':
            return nullcontext()
        return torch.autocast(inputs.device.type, getattr(torch, self.precision))
