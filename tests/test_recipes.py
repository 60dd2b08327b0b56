"""The recipes, on RefShapes' small model: trained, killed between two steps, resumed, compared with one go; tested."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cmmasksd.checkpoints import load_checkpoint_file
from cmmasksd.datasets.refshapes import make_refshapes
from tests.forking import run, tool
from tests.shipped_configs import ROOT as CONFIG_ROOT
from tests.test_engine.test_restart import assert_same, die_in_step
from tests.test_tools.running import CONFIG, ROOT

pytestmark = pytest.mark.slow

SMALL = """
for loader in (_base_.train_dataloader, _base_.val_dataloader, _base_.test_dataloader):
    loader.dataset.data_root = {root!r}
del loader
_base_.train_dataloader.batch_size = 4
_base_.train_dataloader.dataset.indices = 12
_base_.val_dataloader.dataset.indices = _base_.test_dataloader.dataset.indices = 2
_base_.test_cfg.splits = ['val']
_base_.model.threshold = 0.1
"""
SHORT = {  # what the recipe counts in iterations
    'by-iteration': [
        *('train_cfg.max_iters=6', 'train_cfg.val_interval=3', 'default_hooks.checkpoint.interval=3'),
        *('param_scheduler.0.end=2', 'param_scheduler.1.begin=2'),
    ]
}
NAMES = ('accumulation', 'by-iteration', 'ema', 'layer-decay')
STEP = 4  # the second one after the first checkpoint
Train = Callable[..., dict[str, Any]]


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('data')
    make_refshapes(root, num_images=20, seed=3)
    return root


def write(name: str, folder: Path, root: Path) -> Path:
    """The recipe's own lines on RefShapes' small config, with little data."""
    text = (CONFIG_ROOT / f'cm_masksd/recipes/vit-b_refcoco_{name}.py').read_text()
    text, count = re.subn(r"'\.\./vit-b_refcoco\.py'", repr(str(ROOT / CONFIG)), text)
    assert count == 1
    config = folder / f'{name}.py'
    config.write_text(text + SMALL.format(root=str(root)))
    return config


def do(folder: Path, script: str, *arguments: object, code: int = 0, arrange: Callable[[], None] | None = None) -> str:
    log = folder / 'output'
    assert run(partial(_do, arrange), script, *arguments, log=log) == code, log.read_text()[-3000:]
    return log.read_text()


def _do(arrange: Callable[[], None] | None, script: str, *arguments: object) -> None:
    if arrange is not None:
        arrange()
    tool(script, *arguments)


def last(work_dir: Path) -> dict[str, Any]:
    return load_checkpoint_file(work_dir / (work_dir / 'last_checkpoint').read_text())


@pytest.mark.parametrize('name', NAMES)
def test_killed_and_resumed_it_ends_as_in_one_go(name: str, root: Path, tmp_path: Path) -> None:
    config, options = write(name, tmp_path, root), SHORT.get(name, [])
    overrides = ['--cfg-options', *options] if options else []
    whole, cut = tmp_path / 'whole', tmp_path / 'cut'
    do(tmp_path, 'tools/train.py', config, '--work-dir', whole, *overrides)
    do(tmp_path, 'tools/train.py', config, '--work-dir', cut, *overrides, code=-9, arrange=partial(die_in_step, STEP))
    said = do(tmp_path, 'tools/train.py', config, '--work-dir', cut, '--resume', *overrides)
    ours, theirs = last(cut), last(whole)
    assert ours['meta']['iter'] == theirs['meta']['iter'] == 6
    compared = [part for part in ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers') if part in theirs]
    assert sum(assert_same(ours[part], theirs[part], part) for part in compared) > 300
    check = CHECKS.get(name)
    if check is not None:
        check(config, whole, said)


def check_ema(config: Path, work_dir: Path, said: str) -> None:
    """Validated, tested and published is the average, not the weights that are trained."""
    checkpoint = last(work_dir)
    average, trained = checkpoint['state_dict'], checkpoint['ema_state_dict']
    assert trained['steps'] == 6
    moved = [name for name in average if not average[name].equal(trained[f'module.{name}'])]
    assert len(moved) > 200 and any('running_mean' in name for name in moved)
    out, destination = work_dir / 'metrics.json', work_dir / 'published/small'
    do(work_dir, 'tools/misc/publish_model.py', work_dir / 'epoch_2.pth', destination)
    (published,) = destination.parent.iterdir()
    assert_same(load_checkpoint_file(published)['state_dict'], {k: v for k, v in average.items() if 'distil' not in k})
    (log,) = work_dir.glob('*/vis_data/scalars.json')
    validated = [line for line in map(json.loads, log.read_text().splitlines()) if 'mIoU' in line][-1]
    for file in (work_dir / 'epoch_2.pth', published):
        do(work_dir, 'tools/test.py', config, file, '--out', out, '--work-dir', work_dir / 'test')
        tested = json.loads(out.read_text())
        assert tested['val/mIoU'] == pytest.approx(validated['mIoU'], rel=1e-6) and tested['val/mIoU'] > 0


def check_accumulation(config: Path, work_dir: Path, said: str) -> None:
    """Three batches of four are taken up again, and the last step is taken on what is left: two steps in all."""
    assert 'Gradients of 3 of 4 batches are taken up again' in said
    assert {int(state['step']) for state in last(work_dir)['optimizer']['state'].values()} == {2}
    assert last(work_dir).get('accumulated_gradients') is None
    assert len(load_checkpoint_file(work_dir / 'epoch_1.pth')['accumulated_gradients']['gradients']) > 100


def check_layer_decay(config: Path, work_dir: Path, said: str) -> None:
    rates = [group['initial_lr'] for group in last(work_dir)['optimizer']['param_groups']]
    # embeddings, the image tower's 4 blocks (the text tower's 2 learn as the upper ones), what stands on them; the rest
    assert sorted(rates) == pytest.approx([*(1e-3 * 0.9**power for power in (5, 4, 3, 2, 1, 0)), 1e-2])


CHECKS = {'ema': check_ema, 'accumulation': check_accumulation, 'layer-decay': check_layer_decay}


def test_an_average_on_any_config_by_options(root: Path, tmp_path: Path) -> None:
    config = tmp_path / 'plain.py'
    config.write_text(f'_base_ = [{str(ROOT / CONFIG)!r}]\n{SMALL.format(root=str(root))}')
    options = ['default_hooks.ema.type=EMAHook', 'default_hooks.ema.momentum=0.1', 'train_cfg.max_epochs=1']
    do(tmp_path, 'tools/train.py', config, '--work-dir', tmp_path, '--cfg-options', *options)
    assert last(tmp_path)['ema_state_dict']['steps'] == 3
