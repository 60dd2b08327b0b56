"""Correlation filtering and cross-modality guided masking (Fig. 3, Eq. 3, 4, 6 and 7) as pure functions."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

Rounding = Literal['nearest', 'stochastic']


def check_choice(top_k: float, mask_ratio: float, rounding: str) -> None:
    """Raises ValueError unless the settings of :func:`choose_masked` make sense."""
    if not (0 < top_k <= 1 and 0 < mask_ratio <= 1):
        raise ValueError(f'top_k and mask_ratio are shares in (0, 1], got {top_k} and {mask_ratio}.')
    if rounding not in get_args(Rounding):
        raise ValueError(f"rounding is 'nearest' or 'stochastic', got '{rounding}'.")


@torch.no_grad()
def correlate(query: Tensor, tokens: Tensor) -> Tensor:
    """Dot product of one side's global feature with every token of the other, in the joint space (Eq. 3 and 6); carries
    no gradient.

    Args:
        query: (E, C), sentence feature or pooled image feature.
        tokens: (E, M, C), patches or text tokens.

    Returns:
        scores (E, M).
    """
    return torch.bmm(tokens, query.unsqueeze(2)).squeeze(2)


@torch.no_grad()
def choose_masked(
    scores: Tensor,
    top_k: float,
    mask_ratio: float,
    valid: Tensor | None = None,
    generator: torch.Generator | None = None,
    rounding: Rounding = 'nearest',
) -> Tensor:
    """Draws the positions to mask among the most correlated ones.

    Of a row's M valid positions the T = max(1, round(top_k * M)) of highest score are candidates, and m = max(1,
    round(mask_ratio * T)) of those are drawn at random, each set of m equally likely. A row without valid positions
    stays unmasked.

    Args:
        scores: (E, M) correlations.
        top_k: the paper's TopK, a share in (0, 1].
        mask_ratio: the paper's alpha, a share in (0, 1].
        valid: (E, M) bool, True where masking is allowed; None: everywhere.
        generator: source of randomness; None: torch's global one of the scores' device.
        rounding: ``nearest`` (half to even, as Python's ``round``), or ``stochastic``: m = floor(mask_ratio * T), plus
            one with the remainder's probability; it may be 0 and keeps small ratios apart on short expressions (Table
            4b).

    Returns:
        (E, M) bool, True at the positions to mask.

    Raises:
        ValueError: a share outside (0, 1], or an unknown rounding.
    """
    check_choice(top_k, mask_ratio, rounding)
    valid = torch.ones_like(scores, dtype=torch.bool) if valid is None else valid
    candidate_count = (valid.sum(dim=1).double() * top_k).round().clamp(min=1)  # T, (E,)
    masked_count = candidate_count * mask_ratio
    if rounding == 'nearest':
        masked_count = masked_count.round().clamp(min=1)
    else:
        masked_count = (
            masked_count + torch.rand(masked_count.shape, generator=generator, device=scores.device)
        ).floor()
    candidates = _highest(scores, valid, candidate_count)
    lottery = torch.rand(scores.shape, generator=generator, device=scores.device)
    return _highest(lottery, candidates, masked_count)


def mask_tokens(tokens: Tensor, masked: Tensor, mask_token: Tensor) -> Tensor:
    """Replaces the masked tokens by a learnable one (Eq. 4 and 7): (E, M, D), (E, M) bool, (D,) -> (E, M, D)."""
    return torch.where(masked.unsqueeze(2), mask_token.to(tokens.dtype), tokens)


def _highest(scores: Tensor, allowed: Tensor, count: Tensor) -> Tensor:
    """The ``count`` (E,) allowed positions of highest score in each row, ties to the left: (E, M) bool."""
    ordered = scores.float().masked_fill(~allowed, float('-inf')).argsort(dim=1, descending=True, stable=True)
    rank = ordered.argsort(dim=1)
    return (rank < count.unsqueeze(1)) & allowed
