"""The tools as a user runs them: on folders that were copied and moved, by iteration, on joined data sets."""

from __future__ import annotations

import json
import pickle
import shutil
from functools import partial
from pathlib import Path

import pytest

from cmmasksd.apis import ReferringInferencer
from cmmasksd.checkpoints import load_checkpoint_file
from cmmasksd.datasets.refshapes import make_refshapes
from tests.forking import run, tool
from tests.test_engine.test_restart import assert_same, die_in_step
from tests.test_tools.running import CONFIG, ROOT

pytestmark = pytest.mark.slow

SMALL = """
_base_ = [{base!r}]
for loader in (_base_.train_dataloader, _base_.val_dataloader, _base_.test_dataloader):
    loader.dataset.data_root = {root!r}
del loader
_base_.train_dataloader.batch_size = 4
_base_.train_dataloader.dataset.indices = 12
_base_.val_dataloader.dataset.indices = 2
"""
BY_ITERATION = """
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=5, val_interval=2)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=2), logger=dict(log_metric_by_epoch=False))
log_processor = dict(by_epoch=False)
"""
JOINED = """
repeated = dict(type='RepeatDataset', times=2, dataset=_base_.train_dataloader.dataset)
other = dict(_base_.train_dataloader.dataset, split='val')
_base_.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[repeated, other])
for loader in (_base_.val_dataloader, _base_.test_dataloader):
    loader.dataset = dict(type='ConcatDataset', datasets=[loader.dataset, dict(loader.dataset, indices=1)])
del loader, repeated, other
"""
HALF = """
loader = _base_.test_dataloader
other = dict(loader.dataset, data_root={other!r}, split_by='half')
loader.dataset = dict(type='ConcatDataset', datasets=[loader.dataset, other])
del loader, other
"""


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('data')
    make_refshapes(root, num_images=20, seed=3)
    return root


def write_config(folder: Path, root: Path, more: str = '') -> Path:
    folder.mkdir(exist_ok=True)
    config = folder / 'config.py'
    config.write_text(SMALL.format(base=str(ROOT / CONFIG), root=str(root)) + more)
    return config


def do(script: str, *arguments: object, folder: Path) -> str:
    log = folder / 'output'
    assert run(tool, script, *arguments, log=log) == 0, log.read_text()[-3000:]
    return log.read_text()


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file, with the time of its last change."""
    files = (path for path in folder.rglob('*') if path.is_file())
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_a_copied_and_a_moved_folder_train_on_alone(root: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, root)
    first, copy, moved, whole = (tmp_path / name for name in ('first', 'copy', 'moved', 'whole'))

    def train(folder: Path) -> None:
        options = ['--cfg-options', 'train_cfg.max_epochs=3']
        do('tools/train.py', config, '--work-dir', folder, '--resume', *options, folder=tmp_path)

    train(whole)
    arranged = partial(train_with, partial(die_in_step, 7))
    assert run(arranged, config, first, ['--cfg-options', 'train_cfg.max_epochs=3'], log=tmp_path / 'output') == -9
    shutil.copytree(first, copy)
    before = contents(first)
    # the config that the run has left there names the other folder as work_dir
    do('tools/train.py', copy / 'config.py', '--resume', folder=tmp_path)
    assert contents(first) == before
    first.rename(moved)
    before = contents(copy)
    train(moved)
    assert contents(copy) == before and not first.exists()
    ends = [load_checkpoint_file(folder / 'epoch_3.pth') for folder in (whole, copy, moved)]
    for end in ends[1:]:
        assert assert_same(end['state_dict'], ends[0]['state_dict']) > 100
    best = [sorted(path.name for path in folder.glob('best*')) for folder in (whole, copy, moved)]
    assert best[0] == best[1] == best[2] and len(best[0]) == 1
    for folder in (copy, moved):
        assert (folder / 'last_checkpoint').read_text() == 'epoch_3.pth'


@pytest.mark.parametrize('workers', [0, 2])
def test_a_run_by_iteration_is_resumed_in_the_middle_of_a_pass(workers: int, root: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, root, BY_ITERATION)
    options = ['--cfg-options', f'train_dataloader.num_workers={workers}']
    whole, killed, log = tmp_path / 'whole', tmp_path / 'killed', tmp_path / 'output'
    do('tools/train.py', config, '--work-dir', whole, folder=tmp_path)
    for step in (3, 4):
        arranged = partial(train_with, partial(die_in_step, step))
        assert run(arranged, config, killed, options, log=log) == -9, log.read_text()[-3000:]
    do('tools/train.py', config, '--work-dir', killed, '--resume', *options, folder=tmp_path)
    ours, theirs = (load_checkpoint_file(folder / 'iter_5.pth') for folder in (killed, whole))
    parts = ('state_dict', 'optimizer', 'param_schedulers')
    assert sum(assert_same(ours[part], theirs[part], part) for part in parts) > 300


def train_with(arrange: partial, config: Path, work_dir: Path, options: list[str]) -> None:
    arrange()
    tool('tools/train.py', config, '--work-dir', work_dir, '--resume', *options)


def test_joined_data_sets_are_trained_on_and_tested_split_by_split(root: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, root, JOINED)
    work_dir, single = tmp_path / 'work', write_config(tmp_path / 'single', root)
    said = do('tools/train.py', config, '--work-dir', work_dir, folder=tmp_path)
    assert 'mIoU' in said and len(list(work_dir.glob('best_mIoU_epoch_*.pth'))) == 1
    checkpoint, counts = work_dir / 'epoch_2.pth', {}
    for name, each in (('joined', config), ('single', single)):
        out = ['--out', tmp_path / f'{name}.json', '--work-dir', tmp_path / name]
        shown = ['--show-dir', tmp_path / f'{name} panels']
        said = do('tools/test.py', each, checkpoint, *out, *shown, folder=tmp_path)
        metrics = json.loads((tmp_path / f'{name}.json').read_text())
        counts[name] = {split: metrics[f'{split}/num_expressions'] for split in ('val', 'testA', 'testB')}
    assert all(counts['joined'][split] > counts['single'][split] > 0 for split in counts['single'])
    assert {path.name for path in (tmp_path / 'joined panels').iterdir()} == {'val', 'testA', 'testB'}
    inferencer = ReferringInferencer(str(config), checkpoint, device='cpu')
    assert len(inferencer.pipeline.transforms) == len(ReferringInferencer(str(single)).pipeline.transforms)


def test_a_split_that_one_of_joined_sets_has_not_is_refused_before_any_is_evaluated(root: Path, tmp_path: Path) -> None:
    other = tmp_path / 'other'
    shutil.copytree(root, other)
    (source,) = (other / 'refshapes').glob('refs(*).p')
    refs = [ref for ref in pickle.loads(source.read_bytes()) if ref['split'] != 'testA']
    (other / 'refshapes' / 'refs(half).p').write_bytes(pickle.dumps(refs, protocol=2))
    config = write_config(tmp_path, root, HALF.format(other=str(other)))
    work_dir, log = tmp_path / 'work', tmp_path / 'refusal'
    do('tools/train.py', config, '--work-dir', work_dir, '--cfg-options', 'train_cfg.max_epochs=1', folder=tmp_path)
    test = ('tools/test.py', config, work_dir / 'epoch_1.pth', '--work-dir', work_dir)
    assert run(tool, *test, log=log) != 0
    assert f"refshapes (half) in {other} has no split 'testA'; use one of: " in log.read_text()
    assert 'Epoch(test)' not in log.read_text()
    do(*test, '--splits', 'testB', folder=tmp_path)
