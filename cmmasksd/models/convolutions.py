"""CRIS's convolution block, and two that give the same numbers as it does on an enlarged map or on a concatenation,
for less work.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmmasksd.models.layers import BatchNorm


class ConvBNReLU(nn.Sequential):
    """Convolution without bias that keeps the size, batch norm, ReLU (CRIS's ``conv_layer``)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        convolution = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
        super().__init__(convolution, BatchNorm(out_channels), nn.ReLU(inplace=True))

    def normalise(self, convolved: Tensor) -> Tensor:
        """Batch norm and ReLU of what the convolution gave, (E, out_channels, h, w)."""
        return self[2](self[1](convolved))


class UpsampleConvBNReLU(ConvBNReLU):
    """:class:`ConvBNReLU`, 3x3, of the map enlarged x2 bilinearly, which is never made."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3)

    def forward(self, features: Tensor) -> Tensor:
        """(E, in_channels, h, w) -> (E, out_channels, 2h, 2w), channels last in memory."""
        return self.normalise(upsample_conv3x3(features, self.get_parameter('0.weight')))


class ConcatConvBNReLU(ConvBNReLU):
    """:class:`ConvBNReLU` of several maps laid together along their channels, which is never done.

    Each map is convolved with its own part of the kernel and the results are added; so what is known early, such as an
    image's part, is convolved once for all that it meets later. With a 1x1 kernel a map may lie on another grid:
    bilinear resizing commutes with it.

    Args:
        in_channels: widths of the maps.
        out_channels: width of the result.
        kernel_size: odd.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int, kernel_size: int) -> None:
        super().__init__(sum(in_channels), out_channels, kernel_size)
        self.in_channels = list(in_channels)
        self.padding = kernel_size // 2

    def convolve(self, place: int, features: Tensor) -> Tensor:
        """The part of the map at ``place``: (E, in_channels[place], h, w) -> (E, out_channels, h, w)."""
        return F.conv2d(
            features, self.get_parameter('0.weight').split(self.in_channels, dim=1)[place], padding=self.padding
        )

    def forward(self, *parts: Tensor) -> Tensor:
        """Adds the parts that :meth:`convolve` gave, on the grid of the first one, and normalises them: (E,
        out_channels, h, w).

        Raises:
            ValueError: parts of different grids where the kernel is larger than 1x1, with which resizing does not
                commute.
        """
        first, *others = parts
        for part in others:
            if self.padding and part.shape[2:] != first.shape[2:]:
                raise ValueError(
                    f'A kernel larger than 1x1 needs maps on one grid, got {tuple(first.shape[2:])} and '
                    f'{tuple(part.shape[2:])}.'
                )
            first = first + resize_like(part, first)
        return self.normalise(first)


class EnlargeConcatConvBNReLU(ConvBNReLU):
    """:class:`ConvBNReLU`, 3x3, of a map enlarged bilinearly to the grid of a finer one, and of that one, laid together
    (a step of LAVT's decoder). Where the finer grid is twice as fine, the enlarged map is never made.

    Args:
        in_channels: widths of the coarse and the fine map.
        out_channels: width of the result.
    """

    def __init__(self, in_channels: tuple[int, int], out_channels: int) -> None:
        super().__init__(sum(in_channels), out_channels, 3)
        self.in_channels = list(in_channels)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:  # type: ignore[override]
        """(E, in_channels[0], h, w) and (E, in_channels[1], H, W) -> (E, out_channels, H, W)."""
        of_coarse, of_fine = self.get_parameter('0.weight').split(self.in_channels, dim=1)
        size = tuple(fine.shape[2:])
        if size == tuple(2 * side for side in coarse.shape[2:]):
            enlarged = upsample_conv3x3(coarse, of_coarse, align_corners=True)
        else:
            enlarged = F.interpolate(coarse, size=size, mode='bilinear', align_corners=True)
            enlarged = F.conv2d(enlarged, of_coarse, padding=1)
        return self.normalise(enlarged + F.conv2d(fine, of_fine, padding=1))


def scaling_convolution(in_channels: int, out_channels: int, scale: float) -> nn.Conv2d | nn.ConvTranspose2d:
    """A convolution without bias whose kernel is its stride: it divides a map's sides by n, or multiplies them.

    Args:
        in_channels, out_channels: widths.
        scale: n or 1 / n.

    Raises:
        ValueError: another scale.
    """
    stride = round(max(scale, 1 / scale)) if scale > 0 else 0
    if stride < 1 or scale not in (stride, 1 / stride):
        raise ValueError(f'A scale is a whole number, or 1 over one, got {scale}.')
    kind = nn.ConvTranspose2d if scale > 1 else nn.Conv2d
    return kind(in_channels, out_channels, stride, stride, bias=False)


def resize_like(features: Tensor, other: Tensor) -> Tensor:
    """Resizes (B, C, ...) bilinearly to the grid of ``other``; on even grids this is CRIS's x2."""
    if features.shape[-2:] == other.shape[-2:]:
        return features
    return F.interpolate(features, size=other.shape[-2:], mode='bilinear', align_corners=False)


def upsample_conv3x3(features: Tensor, weight: Tensor, align_corners: bool = False) -> Tensor:
    """A 3x3 convolution, zero-padded, of the bilinearly (x2) enlarged map, to rounding: (E, C, h, w), (D, C, 3, 3) ->
    (E, D, 2h, 2w).

    The kernel's nine taps mix channels and enlarging mixes pixels, so the order is free: the taps are applied on the
    small map, to a quarter of the pixels. Their products are then enlarged, shifted and added up by constant matrices,
    first along a row, then along a column. Measured on a CPU and, in bfloat16, on a GPU (docs/benchmarks.md), a step is
    faster so.
    """
    count, _, height, width = features.shape
    pixels = features.permute(0, 2, 3, 1)  # (E, h, w, C)
    taps = weight.permute(2, 3, 0, 1).flatten(1, 2)  # (3, 3 * D, C), one matrix a row of the kernel
    along_row = enlarge_and_shift(width, features, align_corners).permute(1, 2, 0).flatten(1)  # (2w, w * 3)
    along_column = enlarge_and_shift(height, features, align_corners)  # (3, 2h, h)

    def enlarged_rows(row: int) -> Tensor:
        products = F.linear(pixels, taps[row]).view(count * height, width * 3, -1)
        return torch.bmm(_repeat(along_row, products), products).view(count, height, -1)  # (E, h, 2w * D)

    rows = enlarged_rows(0)
    sums = torch.bmm(_repeat(along_column[0], rows), rows)  # (E, 2h, 2w * D)
    for row in (1, 2):
        rows = enlarged_rows(row)
        sums.baddbmm_(_repeat(along_column[row], rows), rows)
    return sums.view(count, 2 * height, 2 * width, -1).permute(0, 3, 1, 2)


def _repeat(matrix: Tensor, batch: Tensor) -> Tensor:
    return matrix.to(batch.dtype).expand(batch.shape[0], -1, -1)


def enlarge_and_shift(length: int, like: Tensor, align_corners: bool = False) -> Tensor:
    """Matrices (3, 2 * length, length), one a tap: its products along one axis, enlarged x2 linearly and moved to
    where the tap puts them; on the device of ``like``, in float32 or its own higher precision.
    """
    unit = torch.eye(length, device=like.device, dtype=torch.promote_types(like.dtype, torch.float32))[None]
    enlarge = F.interpolate(unit, size=2 * length, mode='linear', align_corners=align_corners)[
        0
    ].T  # (2 * length, length)
    padded = F.pad(enlarge, (0, 0, 1, 1))
    return torch.stack([padded[tap : tap + 2 * length] for tap in range(3)])
