"""Which of a picture's objects a mask lies on: language told apart from edges."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def locate(predictions: Tensor, ground_truth: Sequence[Tensor], objects: Tensor) -> list[bool]:
    """Whether each prediction lies on the right object: the one of the picture's objects with which its IoU is
    greatest.

    IoU, and not the shared area: a mask that takes in a small object and half of a large neighbour is about the small
    one. IoUs are compared as integers. An empty or missing mask, and one on which two objects tie, is on none.
    Everything is done one expression at a time, on the device of the predictions.

    Args:
        predictions: (K, height, width) bool.
        ground_truth: K masks (height, width), bool, of the right objects.
        objects: (O, height, width) bool, all objects of the picture; objects of equal masks are one.

    Returns:
        K times right or wrong; none where the picture has fewer than two objects to choose from.
    """
    objects = objects.to(predictions.device)
    right = []
    for prediction, mask in zip(predictions, ground_truth, strict=True):
        mask = mask.to(predictions.device)
        others = objects[(objects != mask).flatten(1).any(1)]
        if len(others):
            right.append(_leads(prediction, mask, others))
    return torch.stack(right).tolist() if right else []


def _leads(prediction: Tensor, mask: Tensor, others: Tensor) -> Tensor:
    """Whether the prediction's IoU with ``mask`` is above that with each of ``others`` (O, height, width)."""
    shared, either = (prediction & mask).count_nonzero(), (prediction | mask).count_nonzero()
    shared_with_others = (prediction & others).flatten(1).sum(1)
    either_with_others = (prediction | others).flatten(1).sum(1)
    return (shared * either_with_others > shared_with_others * either).all()
