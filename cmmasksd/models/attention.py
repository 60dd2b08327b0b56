"""Scaled-dot-product attention, in the precision in which the device is fast."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

FEW_KEYS = 400
"""Below so many keys torch's fused attention in bfloat16 takes longer than in float32 on a CPU, forward and backward
together: 13 ms and 5 with 77 keys of 64 numbers, 39 and 9 with 144 of 16; as long with 400, and 144 ms instead of 187
with 1,296 (torch 2.11, one thread of a CPU with avx512_bf16).
"""


def attend(query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
    """``scaled_dot_product_attention``; few keys in training in bfloat16 on a CPU are attended to in float32.

    Args:
        query: (B, heads, Q, d).
        key: (B, heads, K, d).
        value: (B, heads, K, d).
        options: of torch's function.

    Returns:
        (B, heads, Q, d).
    """
    slow = query.dtype == torch.bfloat16 and query.device.type == 'cpu' and torch.is_grad_enabled()
    if not (slow and key.shape[2] < FEW_KEYS):
        return F.scaled_dot_product_attention(query, key, value, **options)
    mask = options.pop('attn_mask', None)
    mask = mask.float() if mask is not None and mask.is_floating_point() else mask
    with torch.autocast('cpu', enabled=False):
        attended = F.scaled_dot_product_attention(query.float(), key.float(), value.float(), mask, **options)
    return attended.to(query.dtype)
