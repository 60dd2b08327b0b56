"""The learning rate fits what a step is taken on: batch size x processes x accumulation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmengine.runner import Runner

from tests.test_engine.runs import train

SCHEDULES: dict[str, list[dict[str, Any]]] = {
    'none': [],
    'warm-up and cosine': [
        dict(type='LinearLR', start_factor=0.1, end=1, convert_to_iter_based=True),
        dict(type='CosineAnnealingLR', begin=1, convert_to_iter_based=True),
    ],
    'a floor': [dict(type='CosineAnnealingLR', eta_min=0.01, convert_to_iter_based=True)],
    'steps': [dict(type='MultiStepLR', milestones=[1, 2])],
}


def log_of(folder: Path) -> str:
    return max(folder.glob('*/*.log')).read_text()


@pytest.mark.parametrize('checked', [True, False], ids=['our tools', "other tools' Runner"])
@pytest.mark.parametrize('schedule', SCHEDULES)
@pytest.mark.parametrize(('counts', 'processes', 'base'), [(4, 1, 2), (3, 4, 8), (1, 2, 32)])
def test_a_scaled_rate_is_that_of_the_total_batch(
    counts: int,
    processes: int,
    base: int,
    schedule: str,
    checked: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ratio = 2 * processes * counts / base
    options = dict(param_scheduler=SCHEDULES[schedule], optim_wrapper__paramwise_cfg=dict(head_lr_mult=3))
    _, expected = train(tmp_path / 'expected', optim_wrapper__optimizer__lr=0.1 * ratio, **options)
    monkeypatch.setattr(Runner, 'world_size', processes)  # one process, which takes itself for one of several
    scaling = dict(auto_scale_lr=dict(enable=True, base_batch_size=base))
    _, scaled = train(tmp_path, checked, optim_wrapper__accumulative_counts=counts, **scaling, **options)
    assert [rate for rates in scaled.groups for rate in rates] == pytest.approx(
        [rate for rates in expected.groups for rate in rates], rel=1e-12
    )


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (dict(optim_wrapper__accumulative_counts=4), None),
        (dict(train_dataloader__batch_size=4, optim_wrapper__accumulative_counts=2), None),
        ({}, r'A step is taken on 2 items (2 a batch, 1 processes, optim_wrapper.accumulative_counts=1), but'),
        (dict(train_dataloader__batch_size=4, optim_wrapper__accumulative_counts=3), 'A step is taken on 12 items'),
        (dict(optim_wrapper__accumulative_counts=2, auto_scale_lr__enable=True), None),
    ],
)
@pytest.mark.parametrize('checked', [True, False], ids=['our tools', "other tools' Runner"])
def test_another_total_is_said_once_where_nobody_scales(
    options: dict[str, Any], said: str | None, checked: bool, tmp_path: Path
) -> None:
    train(tmp_path, checked, **{'auto_scale_lr': dict(base_batch_size=8), **options})
    log = log_of(tmp_path)
    assert log.count('A step is taken on') == (said is not None) and (said or '') in log


def test_without_a_base_batch_size_nothing_is_said(tmp_path: Path) -> None:
    train(tmp_path)
    assert 'A step is taken on' not in log_of(tmp_path)
