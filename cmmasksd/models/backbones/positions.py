"""Position embeddings of another grid than the one that they were trained on."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def resize_positions(positions: Tensor, grid_size: tuple[int, int], prefix: int = 1) -> Tensor:
    """Resizes position embeddings of a square grid, bicubically; those of tokens before the patches are kept.

    Args:
        positions: (..., prefix + n, D).
        grid_size: the grid wanted, h and w.
        prefix: tokens before the patches that have positions, such as [class].

    Returns:
        (..., prefix + h * w, D); ``positions`` itself where it has that size, or where its grid is no square.
    """
    kept, patches = positions[..., :prefix, :], positions[..., prefix:, :]
    count = patches.shape[-2]
    side = round(count**0.5)
    if count == grid_size[0] * grid_size[1] or side * side != count:
        return positions
    maps = patches.float().transpose(-1, -2).reshape(1, -1, side, side)
    maps = F.interpolate(maps, size=grid_size, mode='bicubic', antialias=True, align_corners=False)
    resized = maps[0].flatten(1).T.to(positions.dtype)
    return torch.cat([kept, resized.expand(*positions.shape[:-2], -1, -1)], dim=-2)
