"""A kill while a checkpoint is written leaves the one before it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.logging import MessageHub
from mmengine.runner import find_latest_checkpoint

from cmmasksd.engine import AtomicCheckpointHook


class Killed(BaseException):
    pass


def make_runner(work_dir: Path) -> SimpleNamespace:
    def save_checkpoint(out_dir: str, filename: str, **contents: object) -> None:
        Path(out_dir, filename).write_text('half')
        if runner.killed:
            raise Killed
        Path(out_dir, filename).write_text('whole')

    message_hub = MessageHub.get_instance(f'atomic-{work_dir}')
    runner = SimpleNamespace(work_dir=str(work_dir), message_hub=message_hub, save_checkpoint=save_checkpoint, killed=False, epoch=0, iter=0)
    runner.train_dataloader, runner.logger = [], SimpleNamespace(info=print)
    return runner


@pytest.fixture
def hook(tmp_path: Path) -> AtomicCheckpointHook:
    hook = AtomicCheckpointHook(interval=1, max_keep_ckpts=2)
    hook.before_train(make_runner(tmp_path))
    return hook


def test_keeps_the_last_ones_and_points_to_the_newest(hook: AtomicCheckpointHook, tmp_path: Path) -> None:
    runner = make_runner(tmp_path)
    for step in (1, 2, 3):
        hook._save_checkpoint_with_step(runner, step, meta={})
    assert sorted(path.name for path in tmp_path.iterdir()) == ['epoch_2.pth', 'epoch_3.pth', 'last_checkpoint']
    assert find_latest_checkpoint(str(tmp_path)) == str(tmp_path / 'epoch_3.pth')


def test_a_kill_leaves_the_last_whole_checkpoint(hook: AtomicCheckpointHook, tmp_path: Path) -> None:
    runner = make_runner(tmp_path)
    for step in (1, 2):
        hook._save_checkpoint_with_step(runner, step, meta={})
    runner.killed = True
    with pytest.raises(Killed):
        hook._save_checkpoint_with_step(runner, 3, meta={})
    latest = Path(find_latest_checkpoint(str(tmp_path)))
    assert latest.name == 'epoch_2.pth' and latest.read_text() == 'whole'
    assert (tmp_path / 'epoch_1.pth').read_text() == 'whole'
