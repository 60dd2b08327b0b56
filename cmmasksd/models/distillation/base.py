"""Bases of the branches. A branch knows a segmentor's verbs only, so it hangs on any segmentor that has them."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, get_args

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from cmmasksd.models.building import build_part
from cmmasksd.models.distillation.correlation import Rounding, check_choice, choose_masked
from cmmasksd.models.losses import LossConfig, MaskLoss
from cmmasksd.structures import BranchFeatures, MainBranch

Guidance = Literal['highest', 'lowest', 'random']


class SelfDistillation(BaseModule):
    """Base of all branches: a branch says what its student sees, and its loss; the segmentor segments.

    Args:
        embed_dims: widths of the towers, ``dict(image=D, text=D_t)``; the segmentor hands them in.
        loss_weight: the paper's lambda.
        shared: the student is segmented by the segmentor's own neck and decode head (the final model); False: by the
            branch's ``neck`` and ``decode_head``, of the same shape (Table 5).
        detach_teacher: stop the gradient at the main branch's probabilities.
        neck: config of the own neck; the segmentor hands in its own neck's config.
        decode_head: config of the own decode head; likewise.
        loss_decode: the loss or losses between the student and the main branch's probabilities; see
            :class:`~cmmasksd.models.losses.MaskLoss`.

    Attributes:
        neck: the branch's own neck, or None where it is shared.
        decode_head: the branch's own decode head, or None where it is shared.

    Raises:
        ValueError: a negative weight, or nothing to build own parts from.
    """

    def __init__(
        self,
        embed_dims: dict[str, int],
        loss_weight: float,
        shared: bool = True,
        detach_teacher: bool = True,
        neck: dict[str, Any] | None = None,
        decode_head: dict[str, Any] | None = None,
        loss_decode: LossConfig = None,
    ) -> None:
        super().__init__()
        if not shared and (neck is None or decode_head is None):
            raise ValueError(f'{type(self).__name__}(shared=False) needs the configs of its own neck and decode_head.')
        if not 0 <= loss_weight < float('inf'):
            raise ValueError(f'{type(self).__name__}: loss_weight must be a number of at least 0, got {loss_weight}.')
        self.embed_dims = embed_dims
        self.loss_weight = loss_weight
        self.shared = shared
        self.detach_teacher = detach_teacher
        self.loss_decode = MaskLoss(loss_decode)
        self.neck = None if shared or neck is None else build_part(neck)
        self.decode_head = None if shared or decode_head is None else build_part(decode_head)

    def student(self, segmentor: nn.Module, main: MainBranch) -> BranchFeatures:
        """Encodes what the student sees, by the segmentor's verbs; the segmentor then fuses and decodes it."""
        raise NotImplementedError

    def loss(
        self, logits: Tensor, main_logits: Tensor, name: str = 'loss', target: Tensor | None = None
    ) -> dict[str, Tensor]:
        """lambda * BCE(logits, sigmoid(M_seg)) (Eq. 9), or the losses asked for.

        Args:
            logits: the student's, (E, 1, 4h, 4w).
            main_logits: the main branch's, of the same shape.
            name: the losses' prefix.
            target: ground truth of the same shape, for branches that learn from it.

        Returns:
            scalars by name.
        """
        teacher = main_logits.sigmoid()
        return self.weighted_loss(logits, teacher.detach() if self.detach_teacher else teacher, name)

    def weighted_loss(self, logits: Tensor, target: Tensor, name: str) -> dict[str, Tensor]:
        """The branch's loss or losses to a target, times ``loss_weight``."""
        return {key: self.loss_weight * loss for key, loss in self.loss_decode(logits, target, name).items()}


class MaskedSelfDistillation(SelfDistillation):
    """Base of branches whose student sees a tower's input masked where it correlates with the other side.

    Args:
        embed_dims: see the base class, as are all other arguments that are not named here.
        top_k: the paper's TopK; see :func:`~cmmasksd.models.distillation.correlation.choose_masked`.
        mask_ratio: the paper's alpha.
        rounding: see :func:`~cmmasksd.models.distillation.correlation.choose_masked`.
        guidance: which positions are candidates: those of ``highest`` correlation (the paper's), or, to tell what
            correlation is worth, as many of the ``lowest``, or ``random`` ones.

    Raises:
        ValueError: a share outside (0, 1], an unknown rounding or guidance, and what the base class raises.
    """

    masked_side: ClassVar[Literal['image', 'text']]

    def __init__(
        self,
        embed_dims: dict[str, int],
        top_k: float,
        mask_ratio: float,
        loss_weight: float,
        rounding: Rounding = 'nearest',
        guidance: Guidance = 'highest',
        **kwargs: Any,
    ) -> None:
        super().__init__(embed_dims, loss_weight, **kwargs)
        check_choice(top_k, mask_ratio, rounding)
        if guidance not in get_args(Guidance):
            raise ValueError(f"guidance is 'highest', 'lowest' or 'random', got {guidance!r}.")
        self.mask_token = nn.Parameter(torch.randn(embed_dims[self.masked_side]) * 0.02)
        self.top_k = top_k
        self.mask_ratio = mask_ratio
        self.rounding = rounding
        self.guidance = guidance

    def choose(self, scores: Tensor, valid: Tensor | None = None) -> Tensor:
        """Draws the masked positions (E, M) from correlations (E, M)."""
        if self.guidance == 'lowest':
            scores = -scores
        elif self.guidance == 'random':
            scores = torch.rand_like(scores, dtype=torch.float32)
        return choose_masked(scores, self.top_k, self.mask_ratio, valid, rounding=self.rounding)
