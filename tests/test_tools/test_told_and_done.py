"""tools/train.py does what its options say, seen in what it writes; or says what to write instead, before a step."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from cmmasksd.checkpoints import load_checkpoint_file
from cmmasksd.datasets.refshapes import make_refshapes
from tests.forking import run, tool
from tests.test_tools.running import CONFIG, ROOT

pytestmark = pytest.mark.slow
STEPS = 3  # of four pictures, an epoch


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options of a small set, and of a log of every step."""
    root = tmp_path_factory.mktemp('data')
    make_refshapes(root, num_images=20, seed=3)
    return [
        *(f'{loader}_dataloader.dataset.data_root={root}' for loader in ('train', 'val')),
        f'train_dataloader.dataset.indices={4 * STEPS}',
        'train_dataloader.batch_size=4',
        'val_dataloader.dataset.indices=1',
        'default_hooks.logger.interval=1',
    ]


def train(work_dir: Path, data: list[str], *options: str, arguments: tuple[str, ...] = (), code: int = 0) -> str:
    """Trains RefShapes' small model; gives what was printed."""
    work_dir.mkdir(exist_ok=True)
    output = work_dir / 'output'
    output.unlink(missing_ok=True)
    command = ('tools/train.py', CONFIG, '--work-dir', work_dir, *arguments, '--cfg-options', *data, *options)
    assert run(tool, *command, log=output) == code, output.read_text()[-3000:]
    return output.read_text()


def rates(work_dir: Path) -> list[float]:
    """Of every step in the log of the last start."""
    lines = max(work_dir.glob('*/vis_data/scalars.json')).read_text().splitlines()
    return [line['lr'] for line in map(json.loads, lines) if 'lr' in line]


def weights(work_dir: Path, name: str = 'epoch_2.pth') -> dict[str, Any]:
    return load_checkpoint_file(work_dir / name)['state_dict']


@pytest.fixture(scope='module')
def trained(data: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    work_dir = tmp_path_factory.mktemp('trained')
    train(work_dir, data, 'param_scheduler.0.end=2')
    return work_dir


def test_the_schedule_ends_with_the_run(trained: Path, data: list[str], tmp_path: Path) -> None:
    train(tmp_path, data, 'param_scheduler.0.end=2', 'train_cfg.max_epochs=4')
    short, long = rates(trained), rates(tmp_path)
    assert (len(short), len(long)) == (2 * STEPS, 4 * STEPS)
    assert short[-1] < 0.1 * max(short) and long[-1] < 0.02 * max(long) and long[2 * STEPS] > 0.4 * max(long)


def test_a_longer_run_is_resumed_as_if_it_had_been_so_long(trained: Path, data: list[str], tmp_path: Path) -> None:
    longer = ('param_scheduler.0.end=2', 'train_cfg.max_epochs=3', 'train_dataloader.batch_size=3')
    train(tmp_path / 'whole', data, *longer)
    said = train(tmp_path / 'resumed', data, *longer, arguments=('--resume', str(trained / 'epoch_2.pth')))
    assert rates(tmp_path / 'resumed') == rates(tmp_path / 'whole')[-4:]
    assert 'iteration 6 is now counted as 8, epoch 2 of 3 as before' in said


def test_a_frozen_part_stays_and_the_rest_moves(data: list[str], tmp_path: Path) -> None:
    frozen = 'optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult=0'
    train(tmp_path, data, frozen, 'param_scheduler.1.eta_min=1e-5', 'optim_wrapper.optimizer.weight_decay=0.1')
    first, last = (weights(tmp_path, f'epoch_{epoch}.pth') for epoch in (1, 2))
    same = {name for name, value in first.items() if torch.equal(value, last[name])}
    towers = {name for name in first if name.startswith('backbone.')}
    assert towers and towers <= same and not any(name.startswith(('text_encoder.', 'neck.upsample')) for name in same)


def test_accumulation_counts_for_the_rate(data: list[str], tmp_path: Path) -> None:
    """Four batches of four are the sixteen that the rate is meant for, eight of them twice as many."""
    said = train(tmp_path / 'four', data, 'optim_wrapper.accumulative_counts=4')
    assert 'A step is taken on' not in said
    said = train(tmp_path / 'two', data, 'optim_wrapper.accumulative_counts=2')
    assert 'A step is taken on 8 items' in said
    scaled = train(tmp_path / 'eight', data, 'optim_wrapper.accumulative_counts=8', arguments=('--auto-scale-lr',))
    assert 'A step is taken on' not in scaled
    assert rates(tmp_path / 'eight') == pytest.approx([2 * rate for rate in rates(tmp_path / 'four')])


def test_loaders_without_workers_and_with_their_settings_run(trained: Path, data: list[str], tmp_path: Path) -> None:
    loaders = [
        f'{loader}_dataloader.{each}'
        for loader in ('train', 'val')
        for each in ('num_workers=0', 'persistent_workers=True', 'prefetch_factor=2')
    ]
    train(tmp_path, data, 'param_scheduler.0.end=2', *loaders)
    ours, theirs = weights(tmp_path), weights(trained)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def documented() -> list[str]:
    """The options of the run by iterations in the configs' README."""
    text = (ROOT / 'configs/cm_masksd/README.md').read_text()
    block = next(block for block in text.split('```') if 'IterBasedTrainLoop' in block)
    return block.partition('--cfg-options')[2].replace('\\', ' ').split()


def test_the_documented_run_by_iterations_runs(data: list[str], tmp_path: Path) -> None:
    sizes = ('train_cfg.max_iters=6', 'train_cfg.val_interval=2', 'default_hooks.checkpoint.interval=2')
    train(tmp_path, data, *documented(), *sizes, 'param_scheduler.0.end=2')
    assert {file.name for file in tmp_path.glob('iter_*.pth')} == {'iter_4.pth', 'iter_6.pth'}  # the last two are kept
    assert rates(tmp_path)[2:] == sorted(rates(tmp_path)[2:], reverse=True) and len(rates(tmp_path)) == 6
    assert list(tmp_path.glob('best_mIoU_iter_*.pth'))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            ['train_dataloader.batch_size=40'],
            r'12 items are 12 .*, fewer than batch_size=40.* Set train_dataloader',
        ),
        (['param_scheduler.1.end=40'], r'ends at iteration 40, but the run ends at epoch 2 .*, 6 iterations\)'),
        (['optim_wrapper.paramwise_cfg.custom_keys.bacbone.lr_mult=0'], 'bacbone matches no parameter .* backbone'),
        (['optim_wrapper.optimizer.lr=-1'], 'optim_wrapper.optimizer.lr=-1: write a number above 0'),
        (['train_cfg.type=IterBasedTrainLoop', 'train_cfg.max_iters=4'], 'train_cfg._delete_=True beside'),
        (
            ['train_cfg._delete_=True', 'train_cfg.type=IterBasedTrainLoop', 'train_cfg.max_iters=4'],
            'Add --cfg-options log_processor.by_epoch=False .*default_hooks.checkpoint.by_epoch=False',
        ),
    ],
    ids=['batch', 'schedule', 'freeze', 'rate', 'loop', 'hooks'],
)
def test_what_cannot_be_done_is_refused(options: list[str], message: str, data: list[str], tmp_path: Path) -> None:
    said = train(tmp_path, data, *options, code=1)
    assert re.search('ConfigError: .*' + message, said) and not list(tmp_path.glob('*.pth'))
