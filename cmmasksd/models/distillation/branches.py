"""The two masked self-distillation branches (Sec. 3.2). They know a segmentor's verbs only, so they hang on any
segmentor that has them.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, get_args

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from cmmasksd.models.building import build_part
from cmmasksd.models.distillation.correlation import Rounding, check_choice, choose_masked, correlate, mask_tokens
from cmmasksd.models.losses import LossConfig, MaskLoss
from cmmasksd.registry import MODELS
from cmmasksd.structures import BranchFeatures, MainBranch, gather_images

Maskable = Literal['words', 'sequence']


class MaskedSelfDistillation(BaseModule):
    """Base of the branches: a branch says what its student sees, and its loss; the segmentor segments.

    The student sees the tower's input masked where it correlates with the other side, and is to answer as the main
    branch does.

    Args:
        embed_dims: widths of the towers, ``dict(image=D, text=D_t)``; the segmentor hands them in.
        top_k: the paper's TopK; see :func:`~cmmasksd.models.distillation.correlation.choose_masked`.
        mask_ratio: the paper's alpha.
        loss_weight: the paper's lambda.
        shared: the student is segmented by the segmentor's own neck and decode head (the final model); False: by the
            branch's ``neck`` and ``decode_head``, of the same shape (Table 5).
        detach_teacher: stop the gradient at the main branch's probabilities.
        rounding: see :func:`~cmmasksd.models.distillation.correlation.choose_masked`.
        neck: config of the own neck; the segmentor hands in its own neck's config.
        decode_head: config of the own decode head; likewise.
        loss_decode: the loss or losses between the student and the main branch's probabilities; see
            :class:`~cmmasksd.models.losses.MaskLoss`.

    Attributes:
        neck: the branch's own neck, or None where it is shared.
        decode_head: the branch's own decode head, or None where it is shared.

    Raises:
        ValueError: a share outside (0, 1], a negative weight, an unknown rounding, or nothing to build own parts from.
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
        loss_decode: LossConfig = None,
    ) -> None:
        super().__init__()
        if not shared and (neck is None or decode_head is None):
            raise ValueError(f'{type(self).__name__}(shared=False) needs the configs of its own neck and decode_head.')
        check_choice(top_k, mask_ratio, rounding)
        if not 0 <= loss_weight < float('inf'):
            raise ValueError(f'{type(self).__name__}: loss_weight must be a number of at least 0, got {loss_weight}.')
        self.mask_token = nn.Parameter(torch.randn(embed_dims[self.masked_side]) * 0.02)
        self.top_k = top_k
        self.mask_ratio = mask_ratio
        self.loss_weight = loss_weight
        self.shared = shared
        self.detach_teacher = detach_teacher
        self.rounding = rounding
        self.loss_decode = MaskLoss(loss_decode)
        self.neck = None if shared or neck is None else build_part(neck)
        self.decode_head = None if shared or decode_head is None else build_part(decode_head)

    def student(self, segmentor: nn.Module, main: MainBranch) -> BranchFeatures:
        """Masks and encodes by the segmentor's verbs: the features that the segmentor then fuses and decodes."""
        raise NotImplementedError

    def loss(self, logits: Tensor, main_logits: Tensor, name: str = 'loss') -> dict[str, Tensor]:
        """lambda * BCE(logits, sigmoid(M_seg)) (Eq. 9), or the losses asked for: (E, 1, 4h, 4w), twice -> scalars."""
        teacher = main_logits.sigmoid()
        teacher = teacher.detach() if self.detach_teacher else teacher
        return {key: self.loss_weight * loss for key, loss in self.loss_decode(logits, teacher, name).items()}

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
        masked = segmentor.spread_mask(self.choose(correlate(main.text.sentence, patches)))  # (E, M)
        embeddings = gather_images(main.patch_embeddings, main.embedding_index)  # (E, M, D)
        visual = segmentor.encode_image(mask_tokens(embeddings, masked, self.mask_token), main.text)
        return BranchFeatures(segmentor.project(visual, neck=self.neck), main.text, image_index=None)


@MODELS.register_module()
class VMLSD(MaskedSelfDistillation):
    """Visual-guided masked language self-distillation (Eq. 6 to 8): masks the word tokens that the image points at.

    The image is untouched, so a shared neck's projections of the main branch serve as they are; an own neck projects
    the main branch's levels. Where the image's features depend on the sentence, they are made anew from the student's.
    As printed, Eq. 8 has no image grid to predict a mask on; it is read as Neck(V_local, w'_global) and Decoder(F,
    W'_local).

    Args:
        top_k, mask_ratio, loss_weight: see the base class, as are the other arguments.
        maskable: what the paper's N counts. ``words``: this expression's word tokens, so that SOT, EOT and padding are
            never masked; of RefCOCO's 3 to 4 words about one is masked, whatever a small ``mask_ratio`` says, unless
            ``rounding`` is ``stochastic``. ``sequence``: all L tokens.

    Raises:
        ValueError: an unknown ``maskable``, and what the base class raises.
    """

    masked_side = 'text'

    def __init__(
        self,
        top_k: float = 0.5,
        mask_ratio: float = 0.1,
        loss_weight: float = 0.1,
        maskable: Maskable = 'words',
        **kwargs: Any,
    ) -> None:
        super().__init__(top_k=top_k, mask_ratio=mask_ratio, loss_weight=loss_weight, **kwargs)
        if maskable not in get_args(Maskable):
            raise ValueError(f"maskable is 'words' or 'sequence', got {maskable!r}.")
        self.maskable = maskable

    def student(self, segmentor: nn.Module, main: MainBranch) -> BranchFeatures:
        pooled = gather_images(main.visual.pooled, main.image_index)  # (E, C)
        valid = main.text.word_tokens if self.maskable == 'words' else None
        masked = self.choose(correlate(pooled, main.text.tokens), valid)
        text = segmentor.encode_text(mask_tokens(main.word_embeddings, masked, self.mask_token), main.input_ids)
        if segmentor.image_needs_text:
            visual = segmentor.encode_image(main.patch_embeddings, text, main.embedding_index)
        elif self.shared:
            return BranchFeatures(main.projected, text, main.image_index)
        else:
            visual = main.visual
        return BranchFeatures(segmentor.project(visual, neck=self.neck), text, main.image_index)
