"""Dice loss: values by hand, soft targets, empty masks."""

from __future__ import annotations

import pytest
import torch

from cmmasksd.models import DiceLoss


def test_values() -> None:
    logits = torch.tensor([[[[20.0, 20.0, -20.0, -20.0]]], [[[20.0, -20.0, -20.0, -20.0]]]])
    target = torch.tensor([[[[1.0, 0.0, 1.0, 0.0]]], [[[1.0, 0.0, 0.0, 0.0]]]])
    expected = ((1 - 2 / 4) + 0) / 2
    assert DiceLoss()(logits, target).item() == pytest.approx(expected, abs=1e-3)
    assert DiceLoss(loss_weight=3.0)(logits, target).item() == pytest.approx(3 * expected, abs=2e-3)


def test_shares_are_met_by_the_same_probabilities() -> None:
    target = torch.rand(3, 1, 4, 4) * 0.9 + 0.05
    assert DiceLoss()(target.logit(), target).item() == pytest.approx(0, abs=1e-5)


def test_nothing_where_nothing_is_costs_nothing() -> None:
    nothing = torch.zeros(1, 1, 4, 4)
    assert DiceLoss()(nothing - 30, nothing).item() == pytest.approx(0, abs=1e-5)
    assert DiceLoss()(nothing + 30, nothing).item() > 0.99
