"""A real training, killed by SIGKILL at chosen points and resumed, ends where an uninterrupted one does, to the last
bit.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from cmmasksd.checkpoints import load_checkpoint_file
from cmmasksd.datasets.refshapes import make_refshapes
from tests.forking import run, tool
from tests.test_tools.running import CONFIG

pytestmark = pytest.mark.slow
EPOCHS, STEPS, IMAGES = 2, 3, 2  # images of the validation


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_in_step(step: int) -> None:
    """Before the optimiser's step number ``step`` (from 0) of the whole run."""
    from mmengine.hooks import Hook

    class Killer(Hook):
        def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
            if runner.iter == step:
                die()

    register(Killer())


def die_in_validation(epoch: int) -> None:
    """After the validation's first batch."""
    from mmengine.hooks import Hook

    class Killer(Hook):
        def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
            if runner.epoch == epoch:
                die()

    register(Killer())


def die_writing(name: str) -> None:
    """When the file is written under its other name and not yet renamed."""
    flush = os.fsync

    def fsync(descriptor: int) -> None:
        if Path(os.readlink(f'/proc/self/fd/{descriptor}')).name.startswith(name):
            die()
        flush(descriptor)

    os.fsync = fsync


def fill_the_disk(size: int) -> None:
    """From now on the kernel refuses files beyond so many bytes; Python ignores the signal that comes with it."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def register(hook: Any) -> None:
    from mmengine.runner import Runner

    train = Runner.train

    def train_with_hook(runner: Runner) -> Any:
        runner.register_hook(hook)
        return train(runner)

    Runner.train = train_with_hook


def train(work_dir: Path, options: list[str], arrange: Callable[[], None] | None = None) -> None:
    if arrange is not None:
        arrange()
    tool('tools/train.py', CONFIG, '--work-dir', work_dir, '--resume', 'auto', '--cfg-options', *options)


@pytest.fixture(scope='module')
def options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp('data')
    make_refshapes(root, num_images=20, seed=3)
    sizes = [
        f'train_dataloader.dataset.indices={4 * STEPS}',
        f'val_dataloader.dataset.indices={IMAGES}',
        f'train_cfg.max_epochs={EPOCHS}',
    ]
    return [
        *(f'{loader}_dataloader.dataset.data_root={root}' for loader in ('train', 'val')),
        'train_dataloader.batch_size=4',
        *sizes,
    ]


def with_workers(options: list[str], workers: int, persistent: bool) -> list[str]:
    settings = f'dataloader.num_workers={workers}', f'dataloader.persistent_workers={persistent}'
    return [
        *options,
        *(f'{loader}_{setting}' for loader in ('train', 'val') for setting in settings),
        'val_dataloader.batch_size=1',
    ]


@pytest.fixture(scope='module')
def uninterrupted(options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    work_dir = tmp_path_factory.mktemp('uninterrupted')
    assert run(train, work_dir, with_workers(options, 0, False), log=work_dir / 'output') == 0, (
        work_dir / 'output'
    ).read_text()[-3000:]
    return work_dir


def assert_same(one: Any, other: Any, where: str = '') -> int:
    """Compares nested containers to the last bit; gives the number of tensors."""
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
        return 1
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        return sum(assert_same(one[key], other[key], f'{where}.{key}') for key in one)
    if isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        return sum(assert_same(*pair, f'{where}.{place}') for place, pair in enumerate(zip(one, other)))
    assert one == other, where
    return 0


POINTS = {
    'before the first checkpoint': partial(die_in_step, 1),
    'while the first checkpoint is written': partial(die_writing, 'epoch_1.pth'),
    'during validation': partial(die_in_validation, 1),
    'while the best checkpoint is written': partial(die_writing, 'best_mIoU_epoch_1.pth'),
    'while last_checkpoint is written': partial(die_writing, 'last_checkpoint'),
    'in the middle of the second epoch': partial(die_in_step, STEPS + 1),
    'while the last checkpoint is written': partial(die_writing, 'epoch_2.pth'),
    'on a full disk': partial(fill_the_disk, 40_000_000),  # the weights alone still fit
    'during the last validation': partial(die_in_validation, 2),
}
CODES = {'on a full disk': 1}


@pytest.mark.parametrize(
    ('workers', 'persistent', 'points'),
    [
        (
            0,
            False,
            ['before the first checkpoint', 'while the best checkpoint is written', 'during the last validation'],
        ),
        (2, False, ['while the first checkpoint is written', 'in the middle of the second epoch', 'on a full disk']),
        (2, True, ['while last_checkpoint is written', 'during validation', 'while the last checkpoint is written']),
    ],
    ids=['no workers', 'two workers', 'two persistent workers'],
)
def test_killed_and_resumed_it_ends_where_an_uninterrupted_run_does(
    workers: int, persistent: bool, points: list[str], options: list[str], uninterrupted: Path, tmp_path: Path
) -> None:
    settings, output = with_workers(options, workers, persistent), tmp_path / 'output'
    for point in points:
        code = run(train, tmp_path, settings, POINTS[point], log=output)
        assert code == CODES.get(point, -signal.SIGKILL), f'{point}\n{output.read_text()[-3000:]}'
    assert run(train, tmp_path, settings, log=output) == 0, output.read_text()[-3000:]
    ours, theirs = (load_checkpoint_file(folder / f'epoch_{EPOCHS}.pth') for folder in (tmp_path, uninterrupted))
    assert (
        [ours['meta'][key] for key in ('epoch', 'iter')]
        == [theirs['meta'][key] for key in ('epoch', 'iter')]
        == [EPOCHS, EPOCHS * STEPS]
    )
    compared = sum(
        assert_same(ours[part], theirs[part], part) for part in ('state_dict', 'optimizer', 'param_schedulers')
    )
    assert compared > 300
    assert_same_best(tmp_path, uninterrupted)
    assert not list(tmp_path.glob('*.part'))
    assert ('epoch_2.pth could not be written' in output.read_text()) == ('on a full disk' in points)


def assert_same_best(work_dir: Path, other: Path) -> None:
    """The same epoch was found the best, with the same score and weights, and the message hub knows it."""
    (ours,), (theirs,) = (list(folder.glob('best_mIoU_epoch_*.pth')) for folder in (work_dir, other))
    assert ours.name == theirs.name
    assert assert_same(*(load_checkpoint_file(file)['state_dict'] for file in (ours, theirs))) > 100
    hubs = [
        load_checkpoint_file(folder / f'epoch_{EPOCHS}.pth')['message_hub']['runtime_info']
        for folder in (work_dir, other)
    ]
    assert hubs[0]['best_score'] == hubs[1]['best_score']
    assert [Path(hub['best_ckpt']).name for hub in hubs] == [ours.name] * 2
