"""One training step under settings of the device and orders of the same arithmetic, turn about: which to choose."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from mmengine.config import Config
from torch import nn

from cmmasksd.models.convolutions import UpsampleConvBNReLU
from cmmasksd.registry import MODELS

from .comparing import Comparison, Variant, compare
from .inputs import input_size, pinned, random_batch
from .plain import convolve_on_small_map, enlarge_and_convolve
from .training import BRANCHES, optimiser_of, train_once, with_branches

Kernels = Callable[[], AbstractContextManager]


def compare_settings(cfg: Config, batch_size: int, device: torch.device, repeats: int) -> Comparison:
    """Times forward, backward and optimiser step with both branches, in float32 and bfloat16: TF32, cuDNN's search for
    the fastest kernel, both orders of enlarging and convolving, weights channels last, and pinned memory (on a GPU).
    """
    cfg = with_branches(cfg)
    model = MODELS.build(cfg.model).to(device).train()
    batch = random_batch(cfg, [1] * batch_size, training=True)
    names = tuple(name.lower() for name in BRANCHES)

    def variant(kernels: Kernels, amp: bool = True, own: nn.Module = model, data: dict[str, Any] = batch) -> Variant:
        step = partial(train_once, own, data, optimiser_of(own, cfg, amp), names)

        def work() -> None:
            with kernels():
                step()

        return Variant(work, batch_size, 'bfloat16' if amp else 'float32')

    variants = {
        'bfloat16': variant(nullcontext),
        'bfloat16, cudnn.benchmark': variant(searching_kernels),
        'bfloat16, convolved on the small map': variant(partial(upsampling_by, convolve_on_small_map)),
        'bfloat16, enlarged and convolved': variant(partial(upsampling_by, enlarge_and_convolve)),
        'bfloat16, weights channels last': variant(
            nullcontext, own=copy.deepcopy(model).to(memory_format=torch.channels_last)
        ),
        'float32': variant(nullcontext, amp=False),
        'float32, TF32': variant(tf32, amp=False),
        'float32, TF32, enlarged and convolved': variant(enlarging_in_tf32, amp=False),
    }
    if device.type == 'cuda':
        variants['bfloat16, pinned'] = variant(nullcontext, data=pinned(batch))
    size = input_size(cfg)
    title = f'settings, training step with both branches, {batch_size} images of {size[0]}x{size[1]}'
    return compare(title, 'image', variants, device, repeats, first='bfloat16')


@contextmanager
def searching_kernels() -> Iterator[None]:
    """cuDNN tries its kernels at the first call of each shape and keeps the fastest."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=True):
        yield


@contextmanager
def tf32() -> Iterator[None]:
    """Products of float32 matrices by the matrix units, whose operands have ten bits of mantissa."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision('high')
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def enlarging_in_tf32() -> Iterator[None]:
    """CRIS's order, with both its convolutions and all products of matrices in TF32."""
    with tf32(), upsampling_by(enlarge_and_convolve):
        yield


def upsampling_by(forward: Callable[..., Any]) -> AbstractContextManager:
    """The projector's blocks run ``forward``."""
    return patch.object(UpsampleConvBNReLU, 'forward', forward)
