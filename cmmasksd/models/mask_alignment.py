"""Where a logit stands in the input: how training brings masks to the logits' grid and prediction brings them back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor

MaskAlignment = Literal['area', 'cris']
"""``area``: a logit speaks for the square of pixels that it covers. A target is the share of these pixels that the mask
covers, and prediction enlarges with ``align_corners=False``, which puts the logit at the centre of its square.

``cris``: CRIS's own pair, for its released weights: a target is one sampled pixel, the first of the square, and
prediction enlarges with ``align_corners=True``. Masks come out some 1.5 pixels to the right and down, as they do there.
"""


def check_alignment(alignment: str) -> None:
    """Raises ValueError unless it is one of :data:`MaskAlignment`."""
    if alignment not in get_args(MaskAlignment):
        raise ValueError(f"mask_alignment is 'area' or 'cris', got {alignment!r}.")


def masks_to_logits(masks: Tensor, size: Sequence[int], alignment: MaskAlignment) -> Tensor:
    """Ground truth at the logits' size: (E, 1, H, W) -> (E, 1, *size), in [0, 1]."""
    return F.interpolate(masks, size=tuple(size), mode='area' if alignment == 'area' else 'nearest')


def logits_to_masks(probabilities: Tensor, size: Sequence[int], alignment: MaskAlignment) -> Tensor:
    """Probabilities at the input's size, bicubically: (E, 1, h, w) -> (E, 1, *size); they may leave [0, 1] a little."""
    return F.interpolate(probabilities, size=tuple(size), mode='bicubic', align_corners=alignment == 'cris')
