"""Several processes: the metrics of one, the same model on all before it is scored, resumable, and no process outlives
another's death.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from cmmasksd.checkpoints import load_checkpoint_file
from cmmasksd.datasets.refshapes import make_refshapes
from cmmasksd.registry import MODELS
from tests.forking import finish, run, start_job, tool
from tests.test_tools.running import CONFIG, ROOT, environment, run_tool

pytestmark = pytest.mark.slow
MINUTE = 60
FSDP = ['model_wrapper_cfg.type=cmmasksd.FullyShardedModel', 'model_wrapper_cfg.min_parameters=10000']
IMAGES = dict(val=7, testA=2)  # neither is a multiple of 2 or 3 but testA of 2; testA has fewer than 3


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RefShapes with 7 images of val, 2 of testA, and the rest of train."""
    root = tmp_path_factory.mktemp('data')
    make_refshapes(root, num_images=30, seed=3)
    file = root / 'refshapes' / 'refs(unc).p'
    refs = pickle.loads(file.read_bytes())
    images = list(dict.fromkeys(ref['image_id'] for ref in refs))
    split_of = dict(zip(images, [split for split, count in IMAGES.items() for _ in range(count)]))
    for ref in refs:
        ref['split'] = split_of.get(ref['image_id'], 'train')
    file.write_bytes(pickle.dumps(refs, protocol=2))
    return root


@pytest.fixture(scope='module')
def options(data: Path) -> list[str]:
    settings = (f'dataset.data_root={data}', 'num_workers=0', 'persistent_workers=False')
    loaders = [f'{loader}_dataloader.{setting}' for loader in ('train', 'val', 'test') for setting in settings]
    sizes = [
        'train_dataloader.batch_size=2',
        'train_dataloader.dataset.indices=18',
        'val_dataloader.batch_size=1',
        'test_dataloader.batch_size=1',
    ]
    return ['--cfg-options', *loaders, *sizes]


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights as they come, which give every picture another mask."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('cmmasksd'):
        model = MODELS.build(Config.fromfile(ROOT / CONFIG).model)
    file = tmp_path_factory.mktemp('weights') / 'random.pth'
    torch.save(dict(state_dict=model.state_dict(), meta={}), file)
    return file


def test_three_and_two_processes_give_the_metrics_of_one(options: list[str], checkpoint: Path, tmp_path: Path) -> None:
    def arguments(name: str) -> list[object]:
        own = ['--out', tmp_path / f'{name}.json', '--work-dir', tmp_path / name]
        return [*own, '--splits', *IMAGES, *options, 'model.threshold=0.5']

    assert run(tool, 'tools/test.py', CONFIG, checkpoint, *arguments('one'), log=tmp_path / 'output') == 0, (
        tmp_path / 'output'
    ).read_text()
    pair = start_job(2, tmp_path, tool, 'tools/test.py', CONFIG, checkpoint, '--launcher', 'pytorch', *arguments('two'))
    assert finish(*pair) == [0, 0], (tmp_path / 'output_0').read_text()
    run_tool('tools/dist_test.sh', CONFIG, checkpoint, 3, *arguments('three'))
    one, two, three = (json.loads((tmp_path / f'{name}.json').read_text()) for name in ('one', 'two', 'three'))
    assert one == two == three
    assert all(0 < one[f'{split}/mIoU'] < 100 for split in IMAGES)
    assert one['val/num_expressions'] > one['testA/num_expressions'] > 2


def train(work_dir: Path, options: list[str], dies: bool = False) -> None:
    """Two epochs on several processes; notes the statistics that each process validates with. Rank 1 may die in the
    second.
    """
    from mmengine.hooks import Hook
    from mmengine.runner import Runner

    class Watch(Hook):
        def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
            if dies and runner.rank == 1 and runner.epoch == 1:
                os.kill(os.getpid(), signal.SIGKILL)

        def before_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
            statistics = {name: buffer for name, buffer in runner.model.module.named_buffers() if 'running' in name}
            torch.save(statistics, work_dir / f'statistics_{runner.epoch}_{runner.rank}.pth')

    original = Runner.train

    def watched(runner: Runner) -> Any:
        runner.register_hook(Watch())
        return original(runner)

    Runner.train = watched
    tool('tools/train.py', CONFIG, '--work-dir', work_dir, '--resume', 'auto', '--launcher', 'pytorch', *options)


@pytest.mark.parametrize('wrapper', [[], FSDP], ids=['ddp', 'fsdp'])
def test_two_processes_resume_exactly_and_none_survives_a_dead_one(
    wrapper: list[str], options: list[str], tmp_path: Path
) -> None:
    """Without torchrun, which would end them: they notice by themselves. What FSDP wrote, one process reads."""
    options = [*options, *wrapper]
    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    for folder in (whole, killed):
        folder.mkdir()
    assert finish(*start_job(2, whole, train, whole, options)) == [0, 0], (whole / 'output_0').read_text()[-3000:]
    survivor, dead = finish(*start_job(2, killed, train, killed, options, True))
    assert dead == -signal.SIGKILL and survivor == 1 and 'Connection' in (killed / 'output_0').read_text()
    assert finish(*start_job(2, killed, train, killed, options)) == [0, 0], (killed / 'output_0').read_text()[-3000:]
    ours, theirs = (load_checkpoint_file(folder / 'epoch_2.pth')['state_dict'] for folder in (killed, whole))
    assert len(ours) > 100 and [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    assert_same_statistics(whole)
    if wrapper:
        test = ['tools/test.py', CONFIG, killed / 'epoch_2.pth', '--work-dir', tmp_path / 'test', '--splits', 'testA']
        assert run(tool, *test, *options, log=tmp_path / 'output') == 0, (tmp_path / 'output').read_text()[-3000:]


def assert_same_statistics(work_dir: Path) -> None:
    for epoch in (1, 2):
        one, other = (torch.load(work_dir / f'statistics_{epoch}_{rank}.pth') for rank in range(2))
        assert len(one) > 20 and all(torch.equal(one[name], other[name]) for name in one)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]


def test_a_rank_that_dies_ends_the_job_within_a_minute(options: list[str], tmp_path: Path) -> None:
    command = [
        'bash',
        'tools/dist_train.sh',
        CONFIG,
        '2',
        '--work-dir',
        str(tmp_path),
        *options,
        'train_cfg.max_epochs=1000',
    ]
    with open(tmp_path / 'output', 'w') as output:
        job = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=output, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + 3 * MINUTE
            while not (tmp_path / 'last_checkpoint').exists() and job.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            ranks = children(job.pid)
            assert len(ranks) == 2, (tmp_path / 'output').read_text()[-3000:]
            killed = time.monotonic()
            os.kill(ranks[1], signal.SIGKILL)
            code = job.wait(timeout=MINUTE)
            print(f'The job ended {time.monotonic() - killed:.1f} s after one of its processes was killed.')
        finally:
            job.kill()
    said = (tmp_path / 'output').read_text()
    assert code != 0 and 'SIGKILL' in said and str(ranks[1]) in said
    assert not any(Path(f'/proc/{rank}').exists() for rank in ranks)
    assert (tmp_path / (tmp_path / 'last_checkpoint').read_text()).is_file()
