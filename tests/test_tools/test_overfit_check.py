"""One batch learnt by heart, or what to look at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config, ConfigDict
from torch import nn

from tests import forking
from tests.test_tools.running import ROOT

TOOL = 'tools/analysis_tools/overfit_check.py'


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / 'tools/analysis_tools'))


@pytest.fixture
def learner(tiny_model: Callable[..., nn.Module], make_batch: Callable[..., Any]) -> Callable[..., Any]:
    def make(lr: float, frozen: str | None = None) -> Any:
        from overfitting.learning import Learner
        from overfitting.preparing import constant_optimiser

        paramwise = dict(custom_keys={frozen: dict(lr_mult=0)}) if frozen else None
        wrapper = dict(
            type='OptimWrapper',
            constructor='cmmasksd.ReferringOptimWrapperConstructor',
            optimizer=dict(type='Adam', lr=1e-3),
            accumulative_counts=4,
            paramwise_cfg=paramwise or {},
        )
        model = tiny_model()
        optimiser = constant_optimiser(model, Config(dict(optim_wrapper=wrapper)), lr, amp=False)
        return Learner(model, make_batch([1, 1], training=True), optimiser)

    return make


def test_iou_is_the_mean_over_what_can_be_scored() -> None:
    from overfitting.learning import mean_iou

    targets = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]).bool().view(3, 1, 2, 2)
    masks = torch.tensor([[1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]]).bool().view(3, 1, 2, 2)
    assert mean_iou(masks, targets, targets.flatten(1).any(1)) == 75


def test_dropout_is_off_wherever_it_is() -> None:
    from overfitting.preparing import switch_off_dropout

    model = nn.Sequential(nn.Dropout(0.5), nn.MultiheadAttention(4, 2, dropout=0.3), nn.Dropout2d(0.1))
    switch_off_dropout(model)
    assert (model[0].p, model[1].dropout, model[2].p) == (0, 0, 0)


def test_the_rate_is_constant_and_steps_are_not_accumulated() -> None:
    from overfitting.preparing import constant_optimiser

    wrapper = dict(
        type='OptimWrapper',
        constructor='cmmasksd.ReferringOptimWrapperConstructor',
        optimizer=dict(type='Adam', lr=1e-5),
        accumulative_counts=4,
    )
    for lr, expected in ((None, 1e-4), (3e-4, 3e-4)):
        optimiser = constant_optimiser(nn.Linear(2, 2), Config(dict(optim_wrapper=wrapper)), lr, amp=False)
        assert [group['lr'] for group in optimiser.param_groups] == [pytest.approx(expected)]
        assert optimiser._accumulative_counts == 1


def test_advice_names_frozen_parts(learner: Callable[..., Any]) -> None:
    from overfitting.learning import Course, diagnose

    still, course = learner(lr=1e-3, frozen='neck'), Course()
    assert len(list(still.learn(2, 1, 99, course))) == 2 and course.steps == [1, 2]
    assert 'Nothing has moved in neck:' in ' '.join(diagnose(still, course))


def test_advice_when_the_loss_breaks(learner: Callable[..., Any]) -> None:
    from overfitting.learning import Course, diagnose

    broken, course = learner(lr=1e30), Course()
    lines = list(broken.learn(50, 50, 99, course))
    assert 'nan' in lines[-1] and course.steps[-1] < 50
    assert diagnose(broken, course) == ['The loss is not finite: set --lr lower; with --amp, try without it.']


def test_augmentation_is_left_out_of_the_batch(refshapes_root: Path) -> None:
    from overfitting.preparing import take_batch

    steps = [
        dict(type='LoadReferringImage'),
        dict(type='cmmasksd.SelectSentences', mode='random'),
        dict(type='LoadReferringMasks'),
        dict(type='FlipWithSentence'),
        dict(type='AugmentPicture', transforms=[dict(type='mmcv.RandomFlip', prob=0.5)]),
        dict(type='LetterboxResize', size=(32, 32)),
        dict(type='TokenizeExpressions'),
        dict(type='PackReferringInputs'),
    ]
    dataset = dict(type='cmmasksd.RefCOCODataset', data_root=str(refshapes_root), dataset='refshapes', pipeline=steps)
    cfg = Config(dict(train_dataloader=dict(dataset=ConfigDict(dataset))))
    batch, left_out = take_batch(cfg, 3)
    assert left_out == ['FlipWithSentence', 'AugmentPicture']
    assert len(batch['inputs']) == len(batch['data_samples']) == 3
    with pytest.raises(ValueError, match='set --batch-size to at most that'):
        take_batch(cfg, 10_000)


@pytest.mark.slow
@pytest.mark.parametrize(('target', 'code', 'said'), [(5, 0, 'Passed'), (99, 1, 'FAILED: IoU ')])
def test_the_exit_status_says_how_it_ended(
    target: int, code: int, said: str, refshapes_root: Path, tmp_path: Path
) -> None:
    words = ['vit-tiny_refshapes', '--batch-size', 2, '--steps', 40, '--target', target]
    options = ['--cfg-options', f'train_dataloader.dataset.data_root={refshapes_root}']
    assert forking.run(forking.tool, TOOL, *words, *options, log=tmp_path / 'log') == code
    printed = (tmp_path / 'log').read_text()
    assert said in printed and 'As evaluated: IoU' in printed
    assert ('browse_dataset.py' in printed) == bool(code)
