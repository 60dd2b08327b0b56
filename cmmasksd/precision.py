"""What models compute in when they predict, and which of it a device does fastest."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Literal, cast, get_args

import torch

Precision = Literal['float32', 'bfloat16', 'float16']
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
CHOICES = ('auto', *PRECISIONS)
SIDE = 512  # of the matrices that are multiplied, about the size of a ViT's layers
ROUNDS = 5
GAIN = 0.8  # bfloat16 is taken where it needs at most this share of float32's time


def choose_precision(asked: str, device: torch.device | str) -> Precision:
    """What to compute in.

    Args:
        asked: one of ``PRECISIONS``, which is taken as it is; or ``auto``: bfloat16 on a device that is faster so, else
            float32. A GPU is if it knows bfloat16. A processor is asked once, by a matrix product of some milliseconds:
            those with AMX are, and some with AVX-512's bfloat16; others compute it slower than float32.
        device: of the model.

    Raises:
        ValueError: none of these.
    """
    if asked not in CHOICES:
        raise ValueError(f'precision is one of {", ".join(CHOICES)}, got {asked!r}.')
    if asked != 'auto':
        return cast(Precision, asked)
    device = torch.device(device)
    if device.type == 'cuda':
        return 'bfloat16' if torch.cuda.get_device_capability(device) >= (8, 0) else 'float32'
    return 'bfloat16' if device.type == 'cpu' and prefers_bfloat16(torch.get_num_threads()) else 'float32'


@cache
def prefers_bfloat16(threads: int) -> bool:
    """Whether this processor multiplies matrices so much faster in bfloat16 that it is worth its rounding.

    Args:
        threads: that torch uses; the answer is kept for each number of them.
    """
    plain, half = (
        _least_time(torch.ones(SIDE, SIDE, dtype=dtype), time.perf_counter) for dtype in (torch.float32, torch.bfloat16)
    )
    return half <= GAIN * plain


def _least_time(matrix: torch.Tensor, clock: Callable[[], float]) -> float:
    """Seconds of the fastest product of a few; what else the machine does only adds to them."""
    torch.mm(matrix, matrix)  # the first call prepares
    samples = []
    for _ in range(ROUNDS):
        begun = clock()
        torch.mm(matrix, matrix)
        samples.append(clock() - begun)
    return min(samples)
