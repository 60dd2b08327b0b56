"""Schedules end where their run ends, or are refused; what the message says to set is enough."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config

from cmmasksd.cfg_options import merge_options
from cmmasksd.engine.checks import ConfigError
from cmmasksd.engine.checks.schedule import check_floors, check_schedule
from tests.test_engine.runs import by_iterations, make_config, train, train_by

ROOT = Path(__file__).resolve().parents[3]
PAPER = Config.fromfile(ROOT / 'configs/_base_/schedules/adam_100e.py').param_scheduler
QUICK_START = Config.fromfile(ROOT / 'configs/cm_masksd/vit-tiny_refshapes.py').param_scheduler
COSINE: dict[str, Any] = dict(type='CosineAnnealingLR', convert_to_iter_based=True)


@pytest.mark.parametrize('epochs', [11, 100])
def test_the_papers_schedule_ends_with_the_run(epochs: int, tmp_path: Path) -> None:
    _, recorder = train(tmp_path, param_scheduler=PAPER, train_cfg__max_epochs=epochs)
    warm_up = 10 * 6
    assert len(recorder.rates) == 6 * epochs
    assert max(recorder.rates) == pytest.approx(0.1) and recorder.rates.index(max(recorder.rates)) in (59, 60)
    assert recorder.rates[:warm_up] == sorted(recorder.rates[:warm_up])
    assert recorder.rates[warm_up:] == sorted(recorder.rates[warm_up:], reverse=True)
    middle = recorder.rates[(warm_up + len(recorder.rates)) // 2]
    assert middle == pytest.approx(0.05, rel=0.35 if epochs == 11 else 0.02)
    assert recorder.rates[-1] < 0.1 * (3 / max(epochs - 10, 1))


def test_the_quick_starts_schedule_is_the_same_in_epochs_and_iterations(tmp_path: Path) -> None:
    options = dict(param_scheduler=QUICK_START, train_dataloader__dataset__size=400)
    _, by_epoch = train(tmp_path / 'epochs', train_cfg__max_epochs=1, **options)
    _, by_iteration = train(tmp_path / 'iterations', **options, **by_iterations(200))
    assert by_epoch.rates == by_iteration.rates and len(by_epoch.rates) == 200
    assert by_epoch.rates[0] == pytest.approx(1e-3) and by_epoch.rates[-1] < 1e-5
    assert by_epoch.rates.index(max(by_epoch.rates)) in range(50, 101)


@pytest.mark.parametrize('epochs', [1, 4, 9, 10])
def test_a_warm_up_longer_than_the_run_is_refused_and_the_message_mends_it(epochs: int, tmp_path: Path) -> None:
    options = dict(param_scheduler=PAPER, train_cfg__max_epochs=epochs)
    with pytest.raises(ConfigError, match=f'run ends at epoch {epochs} ') as caught:
        train(tmp_path, **options)
    cfg = make_config(tmp_path, **options)
    mend = str(caught.value).partition('--cfg-options ')[2].rstrip('.')
    merge_options(cfg, dict(option.split('=', 1) for option in mend.split()))
    _, recorder = train_by(cfg)
    assert len(recorder.rates) == 6 * epochs
    assert max(recorder.rates) == pytest.approx(0.1) and recorder.rates.index(max(recorder.rates)) <= max(6, epochs)


REFUSED: dict[str, tuple[list[dict[str, Any]], str]] = {
    'an end before the run': (
        [dict(COSINE, end=3)],
        r'param_scheduler.0 \(CosineAnnealingLR\) ends at epoch 3, but the run at epoch 4 .*: '
        r'set param_scheduler.0.end=4, or to None',
    ),
    'an end within the warm-up': (
        [dict(type='LinearLR', end=3, convert_to_iter_based=True), dict(COSINE, end=2)],
        r'param_scheduler.1 \(Cosine.*\) ends at epoch 2, but the run at epoch 4 .*: set param_scheduler.1.end=4',
    ),
    'an end beyond the run': ([dict(COSINE, end=8)], r'ends at epoch 8, but the run ends at epoch 4 .*\.0\.end=4'),
    'an end in iterations': (
        [dict(type='PolyLR', end=80000, by_epoch=False)],
        r'ends at iteration 80000, but the run ends at epoch 4 .*24 iterations.*\.0\.end=24',
    ),
    'a gap': (
        [dict(type='LinearLR', end=1, convert_to_iter_based=True), dict(COSINE, begin=2)],
        r'Nothing schedules the run from epoch 1 to epoch 2, .*: set param_scheduler.1.begin=1; or, .*'
        r"add dict\(type='ConstantLR', factor=1.0, begin=6, end=12, by_epoch=False\)",
    ),
    'a gap at the start': ([dict(COSINE, begin=2)], r'from epoch 0 to epoch 2.*param_scheduler.0.begin=0'),
    'two cosines over one another': (
        [dict(COSINE), dict(COSINE, begin=2)],
        r'param_scheduler.1 .* begins at epoch 2, before param_scheduler.0 .* ends at epoch 4',
    ),
    'a warm-up over a schedule that sets the rate': (
        [dict(type='LinearLR', end=12, by_epoch=False), dict(type='CosineRestartLR', eta_min=0, periods=[4])],
        'param_scheduler.1 .* begins at epoch 0, before param_scheduler.0 .* ends',
    ),
    'a warm-up of one step': (
        [dict(type='LinearLR', start_factor=0.1, end=1), dict(type='CosineAnnealingLR', begin=1)],
        'param_scheduler.0 .* has 1 steps .* never reach the full rate',
    ),
    'a warm-up from nothing': (
        [dict(type='LinearLR', start_factor=0, end=2, convert_to_iter_based=True), dict(COSINE, begin=2)],
        'begins at start_factor=0: it would never reach the full rate',
    ),
    'a period of its own': ([dict(COSINE, T_max=2)], r'T_max=2 is another length .* \(4\): leave T_max out'),
    'steps of its own': (
        [dict(type='OneCycleLR', eta_max=0.1, total_steps=3, convert_to_iter_based=True)],
        'total_steps=3 is another length',
    ),
    'milestones beyond the run': (
        [dict(type='MultiStepLR', milestones=[2, 8])],
        r'milestones=\[2, 8\] go beyond the run, which ends at epoch 4',
    ),
    'both ways of counting': (
        [dict(COSINE, by_epoch=False)],
        'set param_scheduler.0.convert_to_iter_based=False',
    ),
    'a floor above the rate': ([dict(COSINE, eta_min=0.5)], 'eta_min=0.5 is above the learning rate 0.1'),
    'a floor below nothing': (
        [dict(COSINE, eta_min=-0.1)],
        'param_scheduler.0.eta_min=-0.1: write a number at least 0',
    ),
    'a beginning after the end': ([dict(COSINE, begin=5)], 'begins at epoch 5 and ends at epoch 4'),
}


@pytest.mark.parametrize('what', REFUSED)
def test_what_does_not_fit_is_refused(what: str) -> None:
    schedulers, message = REFUSED[what]
    loop = SimpleNamespace(max_epochs=4, max_iters=24, dataloader=range(6))
    wrapper = SimpleNamespace(optimizer=torch.optim.SGD([torch.zeros(1)], lr=0.1))
    with pytest.raises(ConfigError, match=message):
        check_schedule(schedulers, loop)
        check_floors(schedulers, wrapper)


@pytest.mark.parametrize('checked', [True, False], ids=['our tools', "other tools' Runner"])
def test_it_is_refused_before_the_first_step(checked: bool, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='ends at epoch 3, but the run at epoch 4'):
        train(tmp_path, checked, param_scheduler=[dict(COSINE, end=3)])
    assert not list(tmp_path.glob('*.pth'))


FITTING: dict[str, list[dict[str, Any]]] = {
    'none': [],
    'a cosine': [dict(COSINE)],
    'a cosine whose end is None': [dict(COSINE, end=None)],
    'a cosine to the end': [dict(COSINE, end=4)],
    'a warm-up and no more': [dict(type='LinearLR', end=2, convert_to_iter_based=True)],
    "mmdetection's, a warm-up over steps": [
        dict(type='LinearLR', start_factor=0.001, begin=0, end=5, by_epoch=False),
        dict(type='MultiStepLR', begin=0, end=4, by_epoch=True, milestones=[2, 3], gamma=0.1),
    ],
    "mmsegmentation's": [dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=24, by_epoch=False)],
    'warm-up, rest, decay': [
        dict(type='LinearLR', end=6, by_epoch=False),
        dict(type='ConstantLR', factor=1.0, begin=6, end=12, by_epoch=False),
        dict(COSINE, begin=2),
    ],
    'a decay, and then a rest': [dict(COSINE, end=3), dict(type='ConstantLR', factor=1.0, begin=18, by_epoch=False)],
    'a warm-up over a cosine with a floor': [
        dict(type='LinearLR', start_factor=0.01, end=12, by_epoch=False),
        dict(COSINE, eta_min=0.001),
    ],
    'one cycle': [dict(type='OneCycleLR', eta_max=0.1, total_steps=24, by_epoch=False)],
    'a share of each rate': [dict(COSINE, eta_min_ratio=0.1)],
    'momentum beside the rate': [dict(COSINE), dict(type='CosineAnnealingMomentum', eta_min=0.5, begin=0, end=4)],
}


@pytest.mark.parametrize('what', FITTING)
def test_what_fits_runs(what: str, tmp_path: Path) -> None:
    momentum = dict(optim_wrapper__optimizer=dict(type='SGD', lr=0.1, momentum=0.9, _delete_=True))
    runner, recorder = train(tmp_path, param_scheduler=FITTING[what], **(momentum if 'momentum' in what else {}))
    assert runner.iter == len(recorder.rates) == 24
    if 'floor' in what:
        assert recorder.rates[-1] == pytest.approx(0.001, rel=0.5) and max(recorder.rates) > 0.05


def test_one_scheduler_needs_no_list(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='param_scheduler .* set param_scheduler.end=4'):
        train(tmp_path, param_scheduler=dict(COSINE, end=3))


def test_a_floor_above_one_groups_rate_is_refused(tmp_path: Path) -> None:
    slow = dict(optim_wrapper__paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.01))))
    with pytest.raises(ConfigError, match='eta_min=0.01 is above the learning rate 0.001 of a group'):
        train(tmp_path, param_scheduler=[dict(COSINE, eta_min=0.01)], **slow)
    train(tmp_path, param_scheduler=[dict(COSINE, eta_min=0.01)])


def test_a_trial_within_the_warm_up_is_run_and_said(tmp_path: Path) -> None:
    train(tmp_path, param_scheduler=QUICK_START)
    log = max(tmp_path.glob('*/*.log')).read_text()
    mend = re.search(r'The warm-up param_scheduler.0 takes 100 iterations, but the run has 24: .* set (\S+)\.\n', log)
    assert mend is not None
    _, recorder = train(tmp_path / 'mended', param_scheduler=[dict(QUICK_START[0], end=2), QUICK_START[1]])
    assert mend[1] == 'param_scheduler.0.end=2' and max(recorder.rates) > 0.09
