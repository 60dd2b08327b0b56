"""A kill or a full disk while a checkpoint is written leaves the ones before it; the last and the best are whole at
every moment.
"""

from __future__ import annotations

import builtins
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mmengine.fileio import get_file_backend
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from torch import nn, optim

from cmmasksd.engine import AtomicCheckpointHook
from cmmasksd.engine.checkpoints.atomic_files import AtomicLocalBackend, FileWriteError
from cmmasksd.engine.checkpoints.own_folder import find_last
from cmmasksd.engine.checks import ConfigError


class Killed(BaseException):
    """Like a kill, it is caught by nobody."""


def make_runner(work_dir: Path) -> SimpleNamespace:
    def save_checkpoint(out_dir: str, filename: str, backend_args: dict[str, Any], **contents: object) -> None:
        get_file_backend(out_dir, backend_args=backend_args).put(b'whole', Path(out_dir, filename))

    model = nn.Linear(2, 2)
    runner = SimpleNamespace(
        work_dir=str(work_dir), save_checkpoint=save_checkpoint, model=model, hooks=[], epoch=0, iter=0, max_epochs=9
    )
    runner.message_hub = MessageHub.get_instance(f'atomic-{work_dir}')
    runner.optim_wrapper = OptimWrapper(optim.Adam(model.parameters()))
    runner.logger = SimpleNamespace(info=str, warning=str)  # printing would meet a full disk too
    return runner


def run_epoch(hook: AtomicCheckpointHook, runner: SimpleNamespace, score: float) -> None:
    """What mmengine's loop calls at an epoch's end."""
    hook.after_train_epoch(runner)
    runner.epoch += 1
    hook.after_val_epoch(runner, dict(mIoU=score))


def make_hook(runner: SimpleNamespace) -> AtomicCheckpointHook:
    hook = AtomicCheckpointHook(interval=1, max_keep_ckpts=2, save_best='mIoU', rule='greater')
    hook.before_train(runner)
    return hook


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_keeps_the_last_ones_and_the_best_and_points_to_the_newest(tmp_path: Path) -> None:
    runner = make_runner(tmp_path)
    hook = make_hook(runner)
    for score in (3.0, 5.0, 4.0):
        run_epoch(hook, runner, score)
    assert names(tmp_path) == ['best_mIoU_epoch_2.pth', 'epoch_2.pth', 'epoch_3.pth', 'last_checkpoint']
    assert find_last(tmp_path, tmp_path) == tmp_path / 'epoch_3.pth'


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """Counts the steps of a writer (half a write, flush, rename, delete) and dies at the one numbered ``fatal``."""
    counter = SimpleNamespace(count=0, fatal=None)
    write_open = builtins.open

    def step(action: Callable[..., Any] | None = None) -> Callable[..., Any]:
        def act(*arguments: Any, **options: Any) -> Any:
            counter.count += 1
            if counter.count == counter.fatal:
                raise Killed
            return action(*arguments, **options) if action else None

        return act

    def open_to_write(path: Path, mode: str = 'r', *arguments: Any, **options: Any) -> Any:
        file = write_open(path, mode, *arguments, **options)
        if mode == 'wb':
            file.write(b'ha')
            file.flush()
            step()()
            file.seek(0)
        return file

    monkeypatch.setattr(builtins, 'open', open_to_write)
    monkeypatch.setattr(os, 'fsync', step(os.fsync))
    for name in ('replace', 'unlink'):
        monkeypatch.setattr(Path, name, step(getattr(Path, name)))
    monkeypatch.setattr(AtomicLocalBackend, 'remove', step(AtomicLocalBackend.remove))
    yield counter
    monkeypatch.undo()


def killed_at(fatal: int | None, folder: Path, steps: SimpleNamespace) -> int:
    """Three epochs, better each time, the third killed at step ``fatal``; gives the number of steps of the third."""
    runner = make_runner(folder)
    hook = make_hook(runner)
    run_epoch(hook, runner, 1.0)
    run_epoch(hook, runner, 2.0)
    steps.count, steps.fatal = 0, fatal
    with nullcontext() if fatal is None else pytest.raises(Killed):
        run_epoch(hook, runner, 3.0)
    steps.fatal = None
    return steps.count


def test_killed_at_any_step_of_writing_the_last_and_the_best_are_whole(tmp_path: Path, steps: SimpleNamespace) -> None:
    count = killed_at(None, tmp_path / 'unharmed', steps)
    assert count >= 12
    for fatal in range(1, count + 1):
        folder = tmp_path / str(fatal)
        assert killed_at(fatal, folder, steps) == fatal
        last, best = find_last(folder, folder), list(folder.glob('best_mIoU_epoch_*.pth'))
        assert last is not None and last.name in ('epoch_2.pth', 'epoch_3.pth')
        assert best and all(file.read_bytes() == b'whole' for file in (last, *best)), fatal
        make_hook(make_runner(folder))
        assert not list(folder.glob('*.pth.part'))


def test_another_resumed_part_goes_on_with_the_best_score(tmp_path: Path) -> None:
    runner = make_runner(tmp_path)
    run_epoch(make_hook(runner), runner, 5.0)
    resumed = make_runner(tmp_path)  # the message hub, by its name the same, is as a checkpoint would restore it
    resumed.epoch = 1
    hook = make_hook(resumed)
    run_epoch(hook, resumed, 4.0)
    assert 'best_mIoU_epoch_1.pth' in names(tmp_path)
    run_epoch(hook, resumed, 6.0)
    assert [name for name in names(tmp_path) if name.startswith('best')] == ['best_mIoU_epoch_3.pth']


@contextmanager
def small_disk(size: int) -> Iterator[None]:
    """Within the block the kernel refuses to write a file beyond that many bytes: pytest's own log too, so let nothing
    but the write stand there.
    """
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_write_that_the_disk_refuses_leaves_what_was_there(tmp_path: Path) -> None:
    backend, file = AtomicLocalBackend(), tmp_path / 'epoch_1.pth'
    backend.put(b'first', file)
    with pytest.raises(FileWriteError) as caught, small_disk(1000):
        backend.put(b'x' * 5000, file)
    assert file.read_bytes() == b'first' and names(tmp_path) == ['epoch_1.pth']
    for words in (str(file), 'File too large', '5,000 bytes', 'free in its folder', '--resume'):
        assert words in str(caught.value)


def test_a_disk_that_fills_up_leaves_the_last_and_the_best(tmp_path: Path) -> None:
    runner = make_runner(tmp_path)
    hook = make_hook(runner)
    run_epoch(hook, runner, 1.0)
    before = names(tmp_path)
    with pytest.raises(FileWriteError), small_disk(3):
        run_epoch(hook, runner, 2.0)
    assert names(tmp_path) == before
    assert find_last(tmp_path, tmp_path) == tmp_path / 'epoch_1.pth'


@pytest.mark.parametrize(('typed', 'meant'), [('max_keep_ckpt', 'max_keep_ckpts'), ('intervall', 'interval')])
def test_a_misspelt_setting_is_refused_at_once(typed: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f'checkpoint hook .* has no setting {typed!r}: write {meant}'):
        AtomicCheckpointHook(**{typed: 1})
