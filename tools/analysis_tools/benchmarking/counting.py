"""Floating-point operations of a work, and how many of them the device does in a second."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from .timing import Work, time_in_turn

NOT_COUNTED = (
    'FLOPs are those of matrix products, convolutions and attention (a multiplication and an addition are two); '
    'norms, activations, softmax, '
    "resizing, adding up the projector's shifted maps, losses and the optimiser are not counted. Fused attention "
    'counts 2 products forward and 5 '
    'backward, for it computes the scores again.'
)
MATRIX_SIZE = {'cpu': 1536, 'cuda': 8192}
LONGEST_PRODUCT = 2.0  # seconds


def count_flops(work: Work) -> int:
    """Runs the work once and counts; see ``NOT_COUNTED``."""
    counter = _counter()
    with counter:
        work()
    return counter.get_total_flops()


def count_children(work: Work, module: nn.Module) -> dict[str, int]:
    """Runs the work once and counts what each of a module's children does in it, lists of modules taken together."""
    counter = _counter()
    with counter:
        work()
    counts = {name: sum(found.values()) for name, found in counter.get_flop_counts().items()}
    found = {}
    for name, child in module.named_children():
        inner = [f'{name}.{place}' for place in range(len(child))] if isinstance(child, nn.ModuleList) else [name]
        found[name] = sum(counts.get(f'{type(module).__name__}.{each}', 0) for each in inner)
    return {name: flops for name, flops in found.items() if flops}


def _counter() -> FlopCounterMode:
    # torch has no formula for the fused kernel of CPUs
    formulas = {
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    }
    return FlopCounterMode(display=False, custom_mapping=formulas)


def matrix_rate(device: torch.device, dtype: torch.dtype, repeats: int = 3) -> list[float]:
    """FLOPs a second in a large square matrix product: ``repeats`` samples.

    Where that would take longer than ``LONGEST_PRODUCT`` seconds, as in bfloat16 on a CPU that has no instructions for
    it, a product of a quarter of the side serves.
    """
    size = MATRIX_SIZE[device.type]
    (quarter,) = _time_products(size // 4, device, dtype, repeats=1)
    if 4**3 * quarter > LONGEST_PRODUCT:
        size //= 4
    return [2 * size**3 / seconds for seconds in _time_products(size, device, dtype, repeats)]


def _time_products(size: int, device: torch.device, dtype: torch.dtype, repeats: int) -> list[float]:
    left, right = (torch.rand(size, size, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(left)
    return time_in_turn({'product': lambda: torch.mm(left, right, out=out)}, repeats, 1, device)['product']


def share_of_floor(flops: float, seconds: float, rates: Sequence[float]) -> float:
    """The time that the FLOPs would take at the device's matrix rate, over the time taken; on a GPU this is the model
    FLOP utilisation.
    """
    return flops / median(rates) / seconds


def _attention(query: Sequence[int], key: Sequence[int], value: Sequence[int], *args: object, **kwargs: object) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(
    grad: Sequence[int], query: Sequence[int], key: Sequence[int], value: Sequence[int], *args: object, **kwargs: object
) -> int:
    return sdpa_backward_flop_count(grad, query, key, value)
