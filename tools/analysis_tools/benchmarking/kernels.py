"""The projector's parts alone, each in the ways that give the same numbers: which one a device does faster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor, nn

from cmmasksd.models.convolutions import UpsampleConvBNReLU
from cmmasksd.models.decode_heads.vision_language_head import Projector

from .comparing import Comparison, Variant, compare
from .inputs import input_size
from .plain import convolve_on_small_map, enlarge_and_convolve
from .settings import tf32

Forward = Callable[[], Tensor]
Kernels = Callable[[], AbstractContextManager]
# By default cuDNN convolves float32 in TF32, and products of matrices are exact.
PRECISIONS: dict[str, tuple[torch.dtype, Kernels]] = {
    'bfloat16': (torch.bfloat16, nullcontext),
    'float32': (torch.float32, nullcontext),
    'float32, TF32 for products too': (torch.float32, tf32),
}


def compare_kernels(cfg: Config, counts: list[int], device: torch.device, repeats: int) -> Iterator[Comparison]:
    """For each number of expressions, forward alone and with backward, by precision: the two upsampling blocks at the
    config's size, and the kernel that the sentence writes.
    """
    channels = cfg.model.decode_head.get('channels', 512)
    side = input_size(cfg)[0] // cfg_patch(cfg)
    for count in counts:
        works = {
            f'{channels} to {channels} channels, {side} to {2 * side}': upsampling(count, channels, channels, side),
            f'{channels} to {channels // 2} channels, {2 * side} to {4 * side}': upsampling(
                count, channels, channels // 2, 2 * side
            ),
            f"the sentence's kernel, {4 * side}": writing(count, channels, 4 * side),
        }
        for what, make in works.items():
            for name, (dtype, kernels) in PRECISIONS.items():
                ways = make(device, dtype)
                for training in (False, True):
                    title = f'{what}, {count} expressions, {"with backward" if training else "forward"}, {name}'
                    variants = {
                        way: Variant(_work(forward, kernels, dtype, device, training), count, name.split(',')[0])
                        for way, forward in ways.items()
                    }
                    yield compare(title, 'expression', variants, device, repeats, first=next(iter(ways)))


def cfg_patch(cfg: Config) -> int:
    """Pixels a side of a patch of the config's tower."""
    from cmmasksd.models.open_clip_tower import get_architecture

    return get_architecture(cfg.model.backbone.architecture)['vision_cfg']['patch_size']


def upsampling(count: int, channels: int, out_channels: int, side: int) -> Callable[..., dict[str, Forward]]:
    """Ways of enlarging x2 and convolving: (count, channels, side, side) -> (count, out_channels, 2 side, 2 side)."""

    def ways(device: torch.device, dtype: torch.dtype) -> dict[str, Forward]:
        block = UpsampleConvBNReLU(channels, out_channels).to(device).train()
        maps = torch.randn(count, channels, side, side, device=device, dtype=dtype).requires_grad_()
        last = maps.detach().to(memory_format=torch.channels_last).requires_grad_()
        return {
            'on the small map': lambda: convolve_on_small_map(block, last),
            'enlarged, channels last': lambda: enlarge_and_convolve(block, last),
            'enlarged, channels first': lambda: enlarge_and_convolve(block, maps),
        }

    return ways


def writing(count: int, channels: int, side: int) -> Callable[..., dict[str, Forward]]:
    """Ways of applying each expression's kernel to its map (count, channels / 2, side, side)."""

    def ways(device: torch.device, dtype: torch.dtype) -> dict[str, Forward]:
        projector = Projector(channels, channels).to(device)
        projector.upsample = nn.Identity()  # type: ignore[assignment]
        maps = torch.randn(count, channels // 2, side, side, device=device, dtype=dtype)
        last = maps.to(memory_format=torch.channels_last).requires_grad_()
        maps.requires_grad_()
        sentence = torch.randn(count, channels, device=device, dtype=dtype)
        return {
            'folded': lambda: projector(last, sentence),
            'grouped convolution, channels last': lambda: _grouped(projector, last, sentence),
            'grouped convolution, channels first': lambda: _grouped(projector, maps, sentence),
        }

    return ways


def _grouped(projector: Projector, maps: Tensor, sentence: Tensor) -> Tensor:
    """CRIS's way: the pointwise layer over every pixel, then a convolution with a group for each expression."""
    mixed = F.conv2d(maps, projector.mix.weight[..., None, None], projector.mix.bias)
    parameters = projector.kernel(sentence)
    kernel = parameters[:, :-1].unflatten(1, (maps.shape[1], projector.kernel_size, -1))  # (E, half, 3, 3)
    together = mixed.flatten(0, 1)[None]  # (1, E * half, side, side)
    logits = F.conv2d(together, kernel, parameters[:, -1], padding=projector.kernel_size // 2, groups=len(maps))
    return logits.transpose(0, 1)


def _work(
    forward: Forward, kernels: Kernels, dtype: torch.dtype, device: torch.device, training: bool
) -> Callable[[], object]:
    def work() -> None:
        with kernels():
            with (
                torch.autocast(device.type, torch.bfloat16, enabled=dtype is torch.bfloat16),
                torch.set_grad_enabled(training),
            ):
                out = forward()
            if training:
                out.backward(torch.ones_like(out))

    return work
