"""Dice loss, which weighs small objects as large ones."""

from __future__ import annotations

from torch import Tensor, nn

from cmmasksd.registry import MODELS


@MODELS.register_module()
class DiceLoss(nn.Module):
    """1 - 2 sum(p t) / (sum(p^2) + sum(t^2)) of each mask, on average (V-Net, arXiv 1606.04797, Eq. 3). Takes shares as
    targets, and needs no compiled ops, which ``mmseg.DiceLoss`` does with OpenMMLab's own packages.

    Args:
        loss_weight: factor of the loss.
        eps: added above and below the line, so that nothing predicted where nothing is costs nothing.
    """

    def __init__(self, loss_weight: float = 1.0, eps: float = 1e-3) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.eps = eps

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Logits and targets of the same shape (E, 1, h, w) -> a scalar."""
        probabilities, target = logits.sigmoid().flatten(1), target.flatten(1)
        shared = 2 * (probabilities * target).sum(1) + self.eps
        both = probabilities.square().sum(1) + target.square().sum(1) + self.eps
        return self.loss_weight * (1 - shared / both).mean()
