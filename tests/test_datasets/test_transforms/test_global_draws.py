"""Foreign draws follow a seed, and leave no trace."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from cmmasksd.datasets.transforms.global_draws import global_draws


def draw() -> list[float]:
    return [random.random(), np.random.mtrand._rand.random_sample(), float(torch.rand(()))]


class Composition:
    seed = -1

    def set_random_seed(self, seed: int) -> None:
        self.seed = seed


def test_draws_follow_the_seed_alone() -> None:
    drawn = []
    for seed in (3, 3, 4):
        draw()
        with global_draws(seed):
            drawn.append(draw())
    assert drawn[0] == drawn[1] and not set(drawn[0]) & set(drawn[2])


def test_what_is_drawn_outside_goes_on_as_if_nothing_had_happened() -> None:
    with global_draws(5):
        draw()
        expected = draw()
    with global_draws(5):
        draw()
        with pytest.raises(RuntimeError), global_draws(1):
            draw()
            raise RuntimeError
        assert draw() == expected


def test_own_generators_are_told_the_seed() -> None:
    composition = Composition()
    with global_draws(7, [composition]):
        assert composition.seed == 7
