"""Encoders that stop between their stages, so that something can be added to what goes on."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from torch import Tensor

Features = TypeVar('Features')
Stages = Generator[Tensor, Tensor, Features]
"""Yields what each stage made, takes what is to be added to it, of the same shape, and returns the features."""


def advance(stages: Stages[Features], added: Tensor) -> Tensor | Features:
    """Adds to what a stage made and runs the next one: what that made, or, behind the last one, the features."""
    try:
        return stages.send(added)
    except StopIteration as end:
        return end.value
