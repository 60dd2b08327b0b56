"""Which precision is taken, and that it is asked of the machine once."""

from __future__ import annotations

import pytest
import torch

from cmmasksd import arguments, precision
from cmmasksd.precision import PRECISIONS, choose_precision, prefers_bfloat16


@pytest.mark.parametrize('asked', PRECISIONS)
def test_what_is_asked_for_is_taken(asked: str) -> None:
    assert choose_precision(asked, 'cpu') == asked


def test_unknown_ones_are_refused() -> None:
    with pytest.raises(ValueError, match='auto, float32, bfloat16, float16'):
        choose_precision('half', 'cpu')
    assert arguments.CHOICES == precision.CHOICES


@pytest.mark.parametrize(
    ('plain', 'half', 'chosen'), [(1.0, 0.5, 'bfloat16'), (1.0, 0.9, 'float32'), (1.0, 3.0, 'float32')]
)
def test_a_processor_is_asked_once(monkeypatch: pytest.MonkeyPatch, plain: float, half: float, chosen: str) -> None:
    calls = []

    def time(matrix: torch.Tensor, clock: object) -> float:
        calls.append(matrix.dtype)
        return plain if matrix.dtype is torch.float32 else half

    monkeypatch.setattr(precision, '_least_time', time)
    prefers_bfloat16.cache_clear()
    try:
        assert [choose_precision('auto', 'cpu') for _ in range(3)] == [chosen] * 3
    finally:
        prefers_bfloat16.cache_clear()
    assert calls == [torch.float32, torch.bfloat16]


@pytest.mark.parametrize(('capability', 'chosen'), [((9, 0), 'bfloat16'), ((8, 0), 'bfloat16'), ((7, 5), 'float32')])
def test_gpus_are_known(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], chosen: str) -> None:
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: capability)
    assert choose_precision('auto', 'cuda:1') == chosen


def test_other_devices_keep_float32() -> None:
    assert choose_precision('auto', 'meta') == 'float32'
