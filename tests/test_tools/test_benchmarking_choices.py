"""What benchmark.py compares for a choice by device: settings, orders of arithmetic, loaders; and its profile."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / 'tools/analysis_tools'))  # where the script finds its helpers

from benchmarking import counting, data, kernels, loading, profiling, settings  # noqa: E402

CPU = torch.device('cpu')


def test_settings_are_compared_and_taken_back(tiny_cfg, monkeypatch):
    monkeypatch.setitem(counting.MATRIX_SIZE, 'cpu', 64)
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark
    comparison = settings.compare_settings(tiny_cfg, 1, CPU, repeats=1)
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark) == before
    small, enlarged = (f'bfloat16, {way}' for way in ('convolved on the small map', 'enlarged and convolved'))
    assert comparison.flop_ratio(small) == 1 < comparison.flop_ratio(enlarged)
    dtypes = {name: one.dtype for name, one in comparison.measurements.items()}
    assert all(name.startswith(dtype) for name, dtype in dtypes.items()) and len(dtypes) == 8


@pytest.mark.parametrize(
    'make', [kernels.upsampling(2, 8, 4, 3), kernels.writing(2, 8, 6)], ids=['upsampling', 'writing']
)
def test_kernels_that_are_compared_give_the_same_numbers(make):
    first, *others = (forward() for forward in make(CPU, torch.float32).values())
    assert len(others) == 2
    for other in others:
        torch.testing.assert_close(other, first, rtol=1e-4, atol=1e-5)


def test_kernels_are_compared_in_each_precision(tiny_cfg, monkeypatch):
    monkeypatch.setitem(counting.MATRIX_SIZE, 'cpu', 64)
    tiny_cfg.model.decode_head.channels = 8
    comparisons = list(kernels.compare_kernels(tiny_cfg, [2], CPU, repeats=1))
    assert len(comparisons) == 3 * len(kernels.PRECISIONS) * 2
    assert {one.dtype for each in comparisons for one in each.measurements.values()} == {'float32', 'bfloat16'}


def test_a_profile_names_what_took_longest(tiny_cfg):
    step, evaluated = profiling.profile_config(tiny_cfg, 1, 2, CPU, amp=False)
    assert 'profile of training step, 1 images' in step and 'aten::' in step and 'ms by the clock' in step
    assert 'profile of evaluation, 1 images, 2 expressions each' in evaluated


def test_steps_are_fed_by_a_loader(monkeypatch, tmp_path):
    monkeypatch.setattr(data, 'PICTURES', 20)
    monkeypatch.chdir(tmp_path)
    cfg = Config.fromfile(ROOT / 'configs/cm_masksd/vit-tiny_refshapes.py')
    found = loading.measure_loading(cfg, 2, 1, 2, CPU, amp=False)
    assert list(found) == ['pageable memory'] and found['pageable memory'].workers == 1
    assert min(found['pageable memory'].loader, found['pageable memory'].step, found['pageable memory'].fed) > 0
