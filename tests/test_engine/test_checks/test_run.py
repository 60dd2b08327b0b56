"""A run has data, and counts in one way."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mmengine.hooks import CheckpointHook

from cmmasksd.cfg_options import merge_options
from cmmasksd.engine.checks import ConfigError
from cmmasksd.engine.checks.run import check_best
from cmmasksd.evaluation import ReferringIoUMetric
from tests.test_engine.runs import make_config, make_runner, train, train_by

BY_ITERATION: dict[str, Any] = dict(
    train_cfg=dict(_delete_=True, type='IterBasedTrainLoop', max_iters=9, val_interval=3)
)


@pytest.mark.parametrize('checked', [True, False], ids=['our tools', "other tools' Runner"])
def test_fewer_items_than_a_batch_are_refused(checked: bool, tmp_path: Path) -> None:
    message = 'train_dataloader gives no batch: 3 items are 3 for each of 1 processes, fewer than batch_size=4'
    with pytest.raises(ConfigError, match=rf'{message}.*Set train_dataloader.batch_size=3, or .*drop_last=False'):
        train(
            tmp_path,
            checked,
            train_dataloader__batch_size=4,
            train_dataloader__dataset__size=3,
            param_scheduler=[],  # mmengine's converted schedules say less, earlier
        )


@pytest.mark.parametrize(
    ('mend', 'steps'), [(dict(train_dataloader__batch_size=3), 4), (dict(train_dataloader__drop_last=False), 4)]
)
def test_what_the_message_says_mends_it(mend: dict[str, Any], steps: int, tmp_path: Path) -> None:
    options = {'train_dataloader__batch_size': 4, 'train_dataloader__dataset__size': 3, 'param_scheduler': [], **mend}
    assert len(train(tmp_path, **options)[1].rates) == steps


def test_an_empty_validation_is_refused(tmp_path: Path) -> None:
    empty = dict(batch_size=1, dataset=dict(type='Numbers', size=0), sampler=dict(type='DefaultSampler', shuffle=False))
    evaluation = dict(val_cfg={}, val_evaluator=dict(type='DumpResults', out_file_path='results.pkl'))
    with pytest.raises(ConfigError, match='val_dataloader.dataset has no items'):
        make_runner(make_config(tmp_path, val_dataloader=empty, **evaluation))


def test_what_counts_epochs_in_a_run_by_iterations_is_refused_and_the_message_mends_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='parts of it count epochs') as caught:
        make_runner(make_config(tmp_path, **BY_ITERATION))
    options = str(caught.value).partition('--cfg-options ')[2].split()
    assert set(options) == {
        *(
            f'param_scheduler.{place}.{each}=False'
            for place in (0, 1)
            for each in ('by_epoch', 'convert_to_iter_based')
        ),
        'param_scheduler.0.end=2',
        'param_scheduler.1.begin=2',
        'log_processor.by_epoch=False',
        'default_hooks.logger.log_metric_by_epoch=False',
        'default_hooks.checkpoint.by_epoch=False',
        'default_hooks.checkpoint.interval=3',
    }
    mended = make_config(tmp_path, **BY_ITERATION)
    merge_options(mended, dict(option.split('=', 1) for option in options))
    _, recorder = train_by(mended)
    assert len(recorder.rates) == 9 and max(recorder.rates) == pytest.approx(0.1)
    assert recorder.rates[2:] == sorted(recorder.rates[2:], reverse=True) and recorder.rates[-1] < 0.01
    assert sorted(file.name for file in tmp_path.glob('*.pth')) == ['iter_3.pth', 'iter_6.pth', 'iter_9.pth']


def test_other_tools_refuse_it_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='checkpoint.by_epoch=False default_hooks.checkpoint.interval=3'):
        train(tmp_path, checked=False, param_scheduler=[], **BY_ITERATION)


def test_an_average_that_begins_at_an_epoch_is_told_the_iteration(tmp_path: Path) -> None:
    hooks = [dict(type='EMAHook', begin_epoch=1), dict(type='RunCheckHook')]
    with pytest.raises(ConfigError, match=r'custom_hooks.0.begin_epoch=0 custom_hooks.0.begin_iter=6'):
        make_runner(make_config(tmp_path, custom_hooks=hooks, **BY_ITERATION))


def test_checkpoints_by_iteration_go_with_epochs(tmp_path: Path) -> None:
    train(tmp_path, default_hooks__checkpoint=dict(by_epoch=False, interval=10))
    assert sorted(file.name for file in tmp_path.glob('*.pth')) == ['iter_10.pth', 'iter_20.pth', 'iter_24.pth']


@pytest.mark.parametrize(
    ('best', 'prefix', 'refused'),
    [
        ('mIoU', '', None),
        (['mIoU', 'Pr@0.9'], '', None),
        ('auto', '', None),
        (None, '', None),
        ('val/oIoU', 'val', None),
        ('miou', '', "save_best follows, has no setting 'miou': write mIoU"),
        (['mIoU', 'IoU'], '', "no setting 'IoU': write"),
        ('mIoU', 'val', "no setting 'mIoU': write val/mIoU"),
    ],
)
def test_the_best_is_a_score_that_there_is(best: object, prefix: str, refused: str | None) -> None:
    evaluator = SimpleNamespace(metrics=[ReferringIoUMetric(prefix=prefix)])
    hooks = [CheckpointHook(save_best=best, rule='greater')]
    runner = SimpleNamespace(val_loop=SimpleNamespace(evaluator=evaluator), hooks=hooks)
    with nullcontext() if refused is None else pytest.raises(ConfigError, match=refused):
        check_best(runner)
    check_best(SimpleNamespace(val_loop=SimpleNamespace(evaluator=SimpleNamespace(metrics=[object()])), hooks=hooks))
