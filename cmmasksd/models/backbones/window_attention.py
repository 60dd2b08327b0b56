"""Attention within shifted windows, as the original Swin Transformer and LAVT have it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.swin_transformer import ShiftedWindowAttention, SwinTransformerBlock

from cmmasksd.models.attention import attend

OUTSIDE = -100.0  # added to the scores of pixels that lie apart in the picture


class WindowAttention(ShiftedWindowAttention):
    """torchvision's, with the same parameters, by fused attention. Windows are shifted also where one of them holds the
    whole map, where torchvision leaves them.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, H, W, C) -> the same."""
        height, width = x.shape[1:3]
        side, shift = self.window_size[0], self.shift_size[0]
        x = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
        if shift:
            x = x.roll((-shift, -shift), dims=(1, 2))
        rows, columns = x.shape[1] // side, x.shape[2] // side
        windows = x.unflatten(2, (columns, side)).unflatten(1, (rows, side)).transpose(2, 3)  # (B, r, c, side, side, C)
        attended = self._attend(windows.flatten(3, 4).flatten(1, 2), (rows, columns))
        windows = attended.unflatten(1, (rows, columns)).unflatten(3, (side, side)).transpose(2, 3)
        x = windows.flatten(3, 4).flatten(1, 2)
        if shift:
            x = x.roll((shift, shift), dims=(1, 2))
        return self.proj(x[:, :height, :width])

    def _attend(self, windows: Tensor, grid: tuple[int, int]) -> Tensor:
        """(B, number of windows, n, C) -> the same."""
        count = windows.shape[1]
        qkv = self.qkv(windows).unflatten(3, (3, self.num_heads, -1))
        query, key, value = qkv.permute(3, 0, 1, 4, 2, 5).flatten(2, 3).unbind()  # (B, windows * heads, n, d)
        bias = self.get_relative_position_bias().to(query.dtype)  # (1, heads, n, n)
        if self.shift_size[0]:
            apart = regions_apart(grid, self.window_size[0], self.shift_size[0], windows.device)
            bias = bias + apart[:, None].to(bias.dtype) * OUTSIDE  # (windows, heads, n, n)
        bias = bias.expand(count, -1, -1, -1).flatten(0, 1)[None]
        out = attend(query, key, value, attn_mask=bias)
        return out.unflatten(1, (count, self.num_heads)).transpose(2, 3).flatten(3)


def regions_apart(grid: tuple[int, int], side: int, shift: int, device: torch.device | str | None = None) -> Tensor:
    """Which pixels of a window met by the shift alone, having come from two ends of the map.

    Args:
        grid: rows and columns of windows.
        side: of a window.
        shift: of the windows.
        device: where to make it.

    Returns:
        (windows, side * side, side * side) bool.
    """

    def parts(count: int) -> Tensor:
        place = torch.arange(count * side, device=device)
        return (place >= (count - 1) * side).int() + (place >= count * side - shift).int()

    regions = parts(grid[0])[:, None] * 3 + parts(grid[1])  # (H, W)
    windows = regions.unflatten(1, (grid[1], side)).unflatten(0, (grid[0], side)).transpose(1, 2)
    windows = windows.flatten(2, 3).flatten(0, 1)  # (windows, side * side)
    return windows[:, None] != windows[:, :, None]


def swin_block(channels: int, heads: int, window: int, shifted: bool, drop_path: float) -> SwinTransformerBlock:
    """torchvision's block with :class:`WindowAttention`; shifted windows are shifted by half of their side."""
    shift = window // 2 if shifted else 0
    return SwinTransformerBlock(
        channels,
        heads,
        [window, window],
        [shift, shift],
        stochastic_depth_prob=drop_path,
        attn_layer=WindowAttention,
    )
