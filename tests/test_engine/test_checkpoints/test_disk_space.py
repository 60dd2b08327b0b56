"""What a run will write is known, and compared with the disk, before its first step."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import nn, optim

from cmmasksd.engine import AtomicCheckpointHook
from cmmasksd.engine.checkpoints.disk_space import (
    NotEnoughSpaceError,
    WorkDirError,
    check_free_space,
    check_work_dir,
    optimizer_bytes,
    state_bytes,
    weight_bytes,
)
from tests.forking import tool
from tests.test_tools.running import CONFIG, ROOT

OPTIMIZERS: dict[str, Callable[..., optim.Optimizer]] = {
    'Adam': lambda groups: optim.Adam(groups, fused=True),
    'AdamW': optim.AdamW,
    'AMSGrad': lambda groups: optim.Adam(groups, amsgrad=True),
    'SGD': lambda groups: optim.SGD(groups, lr=0.1),
    'momentum': lambda groups: optim.SGD(groups, lr=0.1, momentum=0.9),
    'Adagrad': optim.Adagrad,
    'RMSprop': optim.RMSprop,
}


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_the_state_of_an_optimiser_is_known_before_its_first_step(name: str) -> None:
    weights = [nn.Parameter(torch.zeros(shape)) for shape in ((30, 7), (11,), (5, 5))]
    optimizer = OPTIMIZERS[name]([dict(params=weights[:2]), dict(params=weights[2:])])
    foretold = optimizer_bytes(optimizer)
    assert all(weight.grad is None and not weight.any() for weight in weights)
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    held = [
        value
        for state in optimizer.state.values()
        for value in state.values()
        if torch.is_tensor(value) and value.dim()
    ]
    assert foretold == sum(value.numel() * value.element_size() for value in held) == optimizer_bytes(optimizer)
    assert foretold > 0 or name == 'SGD'


def make_runner(folder: Path, epoch: int = 0) -> SimpleNamespace:
    model = nn.Sequential(nn.Linear(100, 100), nn.BatchNorm1d(100))
    warnings: list[str] = []
    wrapper = OptimWrapper(optim.Adam(model.parameters()))
    logger = SimpleNamespace(warning=warnings.append)
    return SimpleNamespace(
        model=model,
        hooks=[],
        optim_wrapper=wrapper,
        work_dir=str(folder),
        epoch=epoch,
        max_epochs=10,
        logger=logger,
        warnings=warnings,
    )


WEIGHTS = 4 * (100 * 100 + 5 * 100) + 8
ONE = WEIGHTS + 2 * 4 * (100 * 100 + 3 * 100)


def test_bytes_of_a_model_and_its_state(tmp_path: Path) -> None:
    runner = make_runner(tmp_path)
    assert weight_bytes(runner.model) == WEIGHTS
    assert weight_bytes(runner.model) + state_bytes(runner) == ONE
    runner.optim_wrapper = OptimWrapperDict(
        one=runner.optim_wrapper, two=OptimWrapper(optim.SGD(runner.model.parameters(), lr=1.0))
    )
    assert weight_bytes(runner.model) + state_bytes(runner) == ONE


@pytest.mark.parametrize(
    ('options', 'epoch', 'needed'),
    [
        (dict(max_keep_ckpts=2, save_best='mIoU', rule='greater'), 0, 3 * ONE + WEIGHTS),
        (dict(max_keep_ckpts=1), 0, 2 * ONE),
        (dict(max_keep_ckpts=1, save_optimizer=False), 0, 2 * WEIGHTS),
        (dict(max_keep_ckpts=-1, interval=3), 1, 4 * ONE),
    ],
    ids=['kept ones, a spare and the best', 'no best', 'weights only', 'all that are to come'],
)
def test_warns_below_what_will_be_kept_and_stops_below_one(
    options: dict[str, Any], epoch: int, needed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, hook = make_runner(tmp_path, epoch), AtomicCheckpointHook(**options)
    hook.out_dir = str(tmp_path)
    free = SimpleNamespace(free=needed)
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: free)
    check_free_space(hook, runner)
    assert not runner.warnings
    free.free = needed - 1
    check_free_space(hook, runner)
    assert len(runner.warnings) == 1 and f'{needed:,}' in runner.warnings[0] and f'{needed - 1:,}' in runner.warnings[0]
    free.free = (ONE if hook.save_optimizer else WEIGHTS) - 1
    with pytest.raises(NotEnoughSpaceError, match=f'(?s){tmp_path}.*{free.free:,} are free.*--work-dir'):
        check_free_space(hook, runner)


def test_what_is_written_already_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner, hook = make_runner(tmp_path, 5), AtomicCheckpointHook(max_keep_ckpts=2)
    hook.out_dir = str(tmp_path)
    (tmp_path / 'epoch_5.pth').write_bytes(b'x' * ONE)
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: SimpleNamespace(free=2 * ONE))
    check_free_space(hook, runner)
    assert not runner.warnings


def test_a_work_dir_is_made_and_left_empty(tmp_path: Path) -> None:
    check_work_dir(tmp_path / 'a' / 'b')
    assert (tmp_path / 'a' / 'b').is_dir() and not list((tmp_path / 'a' / 'b').iterdir())


def full(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(WorkDirError, match=f'{tmp_path}.*No space left on device.*--work-dir'):
        check_work_dir(tmp_path)


@pytest.mark.parametrize(('script', 'arguments'), [('tools/train.py', []), ('tools/test.py', ['checkpoint.pth'])])
def test_the_tools_say_that_a_work_dir_cannot_be_written(
    script: str, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'file').write_text('in the way')
    monkeypatch.setattr(sys, 'argv', sys.argv)
    with pytest.raises(WorkDirError, match=r'work dir .*file/work_dir \(Not a directory\).*--work-dir'):
        tool(script, str(ROOT / CONFIG), *arguments, '--work-dir', tmp_path / 'file' / 'work_dir')


def test_an_average_and_gradients_that_accumulate_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner, hook = make_runner(tmp_path), AtomicCheckpointHook(interval=1, max_keep_ckpts=1)
    hook.out_dir, hook.key_indicators = str(tmp_path), []
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: SimpleNamespace(free=0))

    def needed() -> int:
        with pytest.raises(NotEnoughSpaceError, match=r'\(([\d,]+) each\)') as caught:
            check_free_space(hook, runner)
        return int(re.search(r'\(([\d,]+) each\)', str(caught.value))[1].replace(',', ''))

    before = needed()
    runner.hooks = [EMAHook()]
    assert needed() - before == WEIGHTS
    runner.optim_wrapper = OptimWrapper(runner.optim_wrapper.optimizer, accumulative_counts=2)
    assert needed() - before == WEIGHTS + 4 * (100 * 100 + 3 * 100)
