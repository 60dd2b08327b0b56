"""The two masked self-distillation branches (Sec. 3.2). They know a segmentor's verbs only, so they hang on any
segmentor that has them.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from cmmasksd.models.distillation.correlation import Rounding, choose_masked, correlate, mask_tokens
from cmmasksd.registry import MODELS
from cmmasksd.structures import BranchFeatures, MainBranch, gather_images


class MaskedSelfDistillation(BaseModule):
    """Base of the branches: mask the tower's input where it correlates with the other side, segment again, match the
    main branch.

    Args:
        embed_dims: widths of the towers, ``dict(image=D, text=D_t)``; the segmentor hands them in.
        top_k: the paper's TopK; see :func:`~cmmasksd.models.distillation.correlation.choose_masked`.
        mask_ratio: the paper's alpha.
        loss_weight: the paper's lambda.
        shared: use the segmentor's own neck and decode head (the final model); False: own ones of the same shape (Table
            5).
        detach_teacher: stop the gradient at the main branch's probabilities.
        rounding: see :func:`~cmmasksd.models.distillation.correlation.choose_masked`.
        neck: config of the own neck; the segmentor hands in its own neck's config.
        decode_head: config of the own decode head; likewise.
    """

    masked_side: ClassVar[Literal['image', 'text']]

    def __init__(
        self,
        embed_dims: dict[str, int],
        top_k: float,
        mask_ratio: float,
        loss_weight: float,
        shared: bool = True,
        detach_teacher: bool = True,
        rounding: Rounding = 'nearest',
        neck: dict[str, Any] | None = None,
        decode_head: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if not shared and (neck is None or decode_head is None):
            raise ValueError(f'{type(self).__name__}(shared=False) needs the configs of its own neck and decode_head.')
        self.mask_token = nn.Parameter(torch.randn(embed_dims[self.masked_side]) * 0.02)
        self.top_k = top_k
        self.mask_ratio = mask_ratio
        self.loss_weight = loss_weight
        self.shared = shared
        self.detach_teacher = detach_teacher
        self.rounding = rounding
        self.neck = None if shared else MODELS.build(neck)
        self.decode_head = None if shared else MODELS.build(decode_head)

    def student(self, segmentor: nn.Module, main: MainBranch) -> BranchFeatures:
        """Masks and encodes: what neck and decode head, the segmentor's or the branch's own, make the branch's logits
        from.
        """
        raise NotImplementedError

    def forward(self, segmentor: nn.Module, main: MainBranch) -> Tensor:
        """The branch by itself: logits (E, 1, 4h, 4w), float32."""
        return self.segment(segmentor, self.student(segmentor, main))

    def segment(self, segmentor: nn.Module, student: BranchFeatures) -> Tensor:
        """Fuses and decodes by the branch's own neck and head, or by the segmentor's: logits (E, 1, 4h, 4w),
        float32.
        """
        return segmentor.segment(student, neck=self.neck, decode_head=self.decode_head)

    def loss(self, logits: Tensor, main_logits: Tensor) -> Tensor:
        """lambda * BCE(logits, sigmoid(M_seg)) (Eq. 9), both (E, 1, 4h, 4w): a scalar."""
        teacher = main_logits.sigmoid()
        teacher = teacher.detach() if self.detach_teacher else teacher
        return self.loss_weight * F.binary_cross_entropy_with_logits(logits, teacher)

    def choose(self, scores: Tensor, valid: Tensor | None = None) -> Tensor:
        """Draws the masked positions (E, M) from correlations (E, M)."""
        return choose_masked(scores, self.top_k, self.mask_ratio, valid, rounding=self.rounding)


@MODELS.register_module()
class LMVSD(MaskedSelfDistillation):
    """Language-guided masked visual self-distillation (Eq. 3 to 5): masks the patches that the sentence points at.

    Patch embeddings are masked before positions are added, so a masked patch keeps its place. Arguments: see the base
    class.
    """

    masked_side = 'image'

    def __init__(self, top_k: float = 0.5, mask_ratio: float = 0.25, loss_weight: float = 0.75, **kwargs: Any) -> None:
        super().__init__(top_k=top_k, mask_ratio=mask_ratio, loss_weight=loss_weight, **kwargs)

    def student(self, segmentor: nn.Module, main: MainBranch) -> BranchFeatures:
        patches = gather_images(main.visual.patches, main.image_index)  # (E, N, C)
        masked = self.choose(correlate(main.text.sentence, patches))
        embeddings = gather_images(main.patch_embeddings, main.image_index)  # (E, N, D)
        visual = segmentor.encode_image(mask_tokens(embeddings, masked, self.mask_token))
        return BranchFeatures(segmentor.project(visual, neck=self.neck), main.text, image_index=None)


@MODELS.register_module()
class VMLSD(MaskedSelfDistillation):
    """Visual-guided masked language self-distillation (Eq. 6 to 8): masks the word tokens that the image points at.

    The image is untouched, so a shared neck's projections of the main branch serve as they are; an own neck projects
    the main branch's levels. As printed, Eq. 8 has no image grid to predict a mask on; it is read as Neck(V_local,
    w'_global) and Decoder(F, W'_local). Arguments: see the base class.
    """

    masked_side = 'text'

    def __init__(self, top_k: float = 0.5, mask_ratio: float = 0.1, loss_weight: float = 0.1, **kwargs: Any) -> None:
        super().__init__(top_k=top_k, mask_ratio=mask_ratio, loss_weight=loss_weight, **kwargs)

    def student(self, segmentor: nn.Module, main: MainBranch) -> BranchFeatures:
        pooled = gather_images(main.visual.pooled, main.image_index)  # (E, C)
        masked = self.choose(correlate(pooled, main.text.tokens), valid=main.text.word_tokens)
        text = segmentor.encode_text(mask_tokens(main.word_embeddings, masked, self.mask_token), main.input_ids)
        projected = main.projected if self.shared else segmentor.project(main.visual, neck=self.neck)
        return BranchFeatures(projected, text, main.image_index)
