"""A loss of one's own beside those of torch and mmseg."""

from __future__ import annotations

from torch import Tensor, nn

from cmmasksd.registry import MODELS


@MODELS.register_module()
class SoftDiceLoss(nn.Module):
    """One minus the Dice coefficient of each expression's probabilities and mask, on average.

    Args:
        loss_weight: factor of the loss.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Logits (E, 1, h, w) and a mask of their shape with values in [0, 1] -> a scalar."""
        probabilities, truth = logits.sigmoid().flatten(1), target.flatten(1)
        common = 2 * (probabilities * truth).sum(dim=1) + 1
        return self.loss_weight * (1 - common / (probabilities.sum(dim=1) + truth.sum(dim=1) + 1)).mean()
