"""Running statistics are the same on every process before a validation, and averaging them again moves nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from mmengine.hooks import CheckpointHook
from mmengine.runner import get_priority
from torch import nn

from cmmasksd.engine import AverageStatisticsHook
from tests.forking import run_ranks


def make_model(rank: int) -> nn.Module:
    torch.manual_seed(rank)
    model = nn.Sequential(nn.Linear(50, 50), nn.BatchNorm1d(50), nn.Linear(50, 3), nn.BatchNorm1d(3))
    model(torch.randn(7, 50))
    return model


def average(folder: Path) -> None:
    runner, hook, states = SimpleNamespace(model=make_model(dist.get_rank()), hooks=[]), AverageStatisticsHook(), []
    for when in (hook.after_train_epoch, hook.before_val_epoch):
        when(runner)
        states.append({name: buffer.clone() for name, buffer in runner.model.named_buffers()})
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    torch.save(states[0], folder / f'buffers_{dist.get_rank()}')


@pytest.mark.slow
def test_seven_processes_agree_on_the_mean(tmp_path: Path) -> None:
    """With fewer than six, means in float32 would do."""
    run_ranks(average, 7, tmp_path, tmp_path)
    alone = [dict(make_model(rank).named_buffers()) for rank in range(7)]
    averaged = [torch.load(tmp_path / f'buffers_{rank}') for rank in range(7)]
    for name in alone[0]:
        assert all(torch.equal(buffers[name], averaged[0][name]) for buffers in averaged)
        mean = torch.stack([buffers[name].double() for buffers in alone]).mean(0)
        torch.testing.assert_close(averaged[0][name].double(), mean, rtol=1e-6, atol=0)
    assert not torch.equal(alone[0]['1.running_mean'], alone[1]['1.running_mean'])


def test_one_process_is_left_alone() -> None:
    model = make_model(0)
    AverageStatisticsHook().before_val_epoch(SimpleNamespace(model=model, hooks=[]))
    assert torch.equal(model[1].running_mean, make_model(0)[1].running_mean)


@pytest.mark.parametrize(
    ('hook', 'averaged_at'),
    [
        (dict(by_epoch=False, interval=2), [1, 3, 4]),
        (dict(by_epoch=False, interval=2, save_last=False), [1, 3]),
        (dict(by_epoch=True, interval=1), []),
    ],
    ids=['by iteration', 'without the last', 'by epoch'],
)
def test_before_a_checkpoint_of_an_iteration(
    hook: dict, averaged_at: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    averaged: list[int] = []
    monkeypatch.setattr(AverageStatisticsHook, '_average', staticmethod(lambda runner: averaged.append(runner.iter)))
    for iteration in range(5):
        runner = SimpleNamespace(hooks=[CheckpointHook(**hook)], iter=iteration, max_iters=5)
        AverageStatisticsHook().after_train_iter(runner, batch_idx=iteration)
    assert averaged == averaged_at
    assert get_priority(AverageStatisticsHook.priority) < get_priority(CheckpointHook.priority)
