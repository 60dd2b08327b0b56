"""Cross-entropy that weighs object and background."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmmasksd.registry import MODELS


@MODELS.register_module()
class ClassWeightedBCELoss(nn.Module):
    """``CrossEntropyLoss(weight=[background, object])`` of two classes, as binary cross-entropy of their difference:
    the mean over pixels, each weighted by its class (LAVT's ``criterion``). Takes shares as targets.

    Args:
        background: weight of pixels outside the object.
        object: weight of pixels of the object.
        loss_weight: factor of the loss.
    """

    def __init__(self, background: float = 0.9, object: float = 1.1, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.background = background
        self.object = object
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Logits and targets of the same shape (E, 1, h, w) -> a scalar."""
        weights = torch.lerp(torch.full_like(target, self.background), torch.full_like(target, self.object), target)
        losses = F.binary_cross_entropy_with_logits(logits, target, reduction='none')
        return self.loss_weight * (weights * losses).sum() / weights.sum()
