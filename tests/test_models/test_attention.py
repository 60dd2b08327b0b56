"""Attention in float32 where bfloat16 is slow: the same numbers, as exact as bfloat16 is."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cmmasksd.models import attention
from cmmasksd.models.attention import attend


def heads(keys: int, dtype: torch.dtype) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(2, 3, length, 8).to(dtype).requires_grad_() for length in (5, keys, keys)]


@pytest.mark.parametrize('mask', [None, 'bool', 'float'])
@pytest.mark.parametrize('amp', [False, True])
@pytest.mark.parametrize(('dtype', 'keys'), [(torch.float32, 7), (torch.bfloat16, 7), (torch.bfloat16, 400)])
def test_values_and_gradients_are_those_of_torch(
    dtype: torch.dtype, keys: int, mask: str | None, amp: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = []
    torchs = F.scaled_dot_product_attention
    monkeypatch.setattr(
        attention.F,
        'scaled_dot_product_attention',
        lambda query, *rest, **more: (used.append(query.dtype), torchs(query, *rest, **more))[1],
    )
    seen = torch.rand(2, 1, 5, keys) > 0.3
    seen[..., 0] = True
    attn_mask = {None: None, 'bool': seen, 'float': seen.to(dtype) - 1}[mask]
    query, key, value = heads(keys, dtype)
    with torch.autocast('cpu', torch.bfloat16, enabled=amp):
        out = attend(query, key, value, attn_mask=attn_mask)
        assert torch.is_autocast_enabled('cpu') == amp
    out.float().square().sum().backward()
    exact = [each.detach().double().requires_grad_() for each in (query, key, value)]
    expected = torchs(*exact, attn_mask=attn_mask.double() if mask == 'float' else attn_mask)
    expected.square().sum().backward()
    few = keys < attention.FEW_KEYS
    assert used == [torch.float32 if few else torch.bfloat16]
    near = dict(atol=1e-5, rtol=1e-4) if dtype == torch.float32 and not amp else dict(atol=0.05, rtol=0.05)
    torch.testing.assert_close(out.double(), expected, **near)
    assert (dtype == torch.float32 and amp) or out.dtype == dtype
    for found, wanted in zip((query, key, value), exact):
        torch.testing.assert_close(found.grad.double(), wanted.grad, **near)


@torch.no_grad()
def test_prediction_keeps_its_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    torchs = F.scaled_dot_product_attention
    monkeypatch.setattr(
        attention.F,
        'scaled_dot_product_attention',
        lambda query, *rest, **more: (used.append(query.dtype), torchs(query, *rest, **more))[1],
    )
    attend(*heads(7, torch.bfloat16))
    assert used == [torch.bfloat16]
