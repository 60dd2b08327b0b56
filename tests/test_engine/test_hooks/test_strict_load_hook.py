"""Which checkpoints a run may be resumed from and which may be evaluated."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from cmmasksd.checkpoints import CheckpointError, load_checkpoint_file
from cmmasksd.engine import StrictLoadHook
from cmmasksd.models import ReferringTTAModel
from tests.test_engine.toy_run import make_run


def test_evaluation_refuses_weights_of_another_model() -> None:
    runner = SimpleNamespace(_train_loop={}, _resume=False, _load_from='a.pth', model=nn.Linear(2, 3))
    StrictLoadHook().after_load_checkpoint(runner, {'state_dict': nn.Linear(2, 3).state_dict()})
    with pytest.raises(CheckpointError, match='a.pth holds .*1 of another shape, such as weight'):
        StrictLoadHook().after_load_checkpoint(runner, {'state_dict': nn.Linear(4, 3).state_dict()})
    with pytest.raises(CheckpointError, match='1 missing, such as bias'):
        StrictLoadHook().after_load_checkpoint(runner, {'state_dict': nn.Linear(2, 3, bias=False).state_dict()})


def test_of_a_model_that_averages_over_views_the_segmentor_is_loaded() -> None:
    inner = nn.Linear(2, 3)
    inner.test_step = lambda data: data  # type: ignore[assignment]  # what mmengine asks for
    runner = SimpleNamespace(_train_loop={}, _resume=False, _load_from='a.pth', model=ReferringTTAModel(inner))
    other = nn.Linear(2, 3).state_dict()
    StrictLoadHook().after_load_checkpoint(runner, {'state_dict': other})
    assert torch.equal(inner.weight, other['weight'])
    with pytest.raises(CheckpointError, match='1 missing, such as bias'):
        StrictLoadHook().after_load_checkpoint(runner, {'state_dict': nn.Linear(2, 3, bias=False).state_dict()})


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    work_dir = tmp_path_factory.mktemp('trained')
    make_run(work_dir).train()
    return load_checkpoint_file(work_dir / 'iter_9.pth')


@pytest.mark.parametrize(
    ('lacks', 'words'),
    [
        (['optimizer'], 'cannot be resumed: it has no optimizer. .*--resume without a path'),
        (
            ['optimizer', 'meta', 'message_hub'],
            'cannot be resumed: it has no meta, message_hub, optimizer. .*load_from, without resume',
        ),
    ],
    ids=['the best one', 'a published one'],
)
def test_weights_alone_cannot_be_resumed(lacks: list[str], words: str, trained: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / 'weights.pth'
    torch.save({name: value for name, value in trained.items() if name not in lacks}, path)
    with pytest.raises(CheckpointError, match=f'{path} {words}'):
        make_run(tmp_path, load_from=str(path), resume=True).train()
    started = make_run(tmp_path, load_from=str(path), train_cfg=dict(by_epoch=True, max_epochs=0))
    started.train()
    assert torch.equal(started.model.weight, trained['state_dict']['weight'])


def test_a_checkpoint_that_is_named_is_resumed(trained: dict[str, Any], tmp_path: Path) -> None:
    torch.save(trained, tmp_path / 'there.pth')
    resumed = make_run(
        tmp_path / 'here',
        load_from=str(tmp_path / 'there.pth'),
        resume=True,
        train_cfg=dict(by_epoch=True, max_epochs=4),
    )
    resumed.train()
    assert len(resumed.model.heard) == 3


def test_a_model_with_more_weights_does_not_resume(trained: dict[str, Any], tmp_path: Path) -> None:
    fewer = {**trained, 'state_dict': {}}
    torch.save(fewer, tmp_path / 'fewer.pth')
    with pytest.raises(CheckpointError, match='cannot be resumed: it has no weight'):
        make_run(tmp_path, load_from=str(tmp_path / 'fewer.pth'), resume=True).train()
