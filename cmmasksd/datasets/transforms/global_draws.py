"""Draws of code that knows no generator but the process's own, made to follow a seed."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def global_draws(seed: int, generators: Iterable[Any] = ()) -> Iterator[None]:
    """Inside, the global generators of Python, numpy and torch (on the CPU) start at ``seed``; outside they go on as if
    nothing had been drawn.

    Args:
        seed: from 0 to 2**32 - 1.
        generators: objects with ``set_random_seed``, as albumentations' compositions have; they keep generators of
            their own.
    """
    legacy = np.random.mtrand._rand  # the generator behind np.random's functions, which is what others draw from
    of_python, of_numpy = random.getstate(), legacy.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            random.seed(seed)
            legacy.seed(seed)
            torch.default_generator.manual_seed(seed)
            for generator in generators:
                generator.set_random_seed(seed)
            yield
        finally:
            random.setstate(of_python)
            legacy.set_state(of_numpy)
