"""Several nodes, as two launches on one machine: what one node with two processes does, and none outlives the other."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from cmmasksd.checkpoints import load_checkpoint_file
from cmmasksd.datasets.refshapes import make_refshapes
from tests.forking import finish, start_job, tool
from tests.test_tools.running import CONFIG, ROOT, environment

pytestmark = pytest.mark.slow
LIMIT = 200  # seconds


@pytest.fixture(scope='module')
def options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp('data')
    make_refshapes(root, num_images=20, seed=3)
    loaders = [f'{loader}_dataloader.dataset.data_root={root}' for loader in ('train', 'val', 'test')]
    sizes = ['train_dataloader.batch_size=2', 'train_dataloader.dataset.indices=8', 'train_cfg.max_epochs=1']
    return ['--cfg-options', *loaders, *sizes, 'default_hooks.logger.interval=1']


@contextmanager
def nodes(folder: Path, script: str, commands: Sequence[Sequence[object]]) -> Iterator[list[subprocess.Popen]]:
    """Starts a script once for each command, as the node of that number."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    jobs = []
    for rank, command in enumerate(commands):
        own = dict(NNODES=str(len(commands)), NODE_RANK=str(rank), MASTER_ADDR='127.0.0.1', PORT=str(port))
        words = ['bash', script, *map(str, command)]
        with open(folder / f'node_{rank}', 'w') as log:
            jobs.append(
                subprocess.Popen(words, cwd=ROOT, env=environment() | own, stdout=log, stderr=subprocess.STDOUT)
            )
    try:
        yield jobs
    finally:
        for job in jobs:
            kill(job)


def kill(job: subprocess.Popen) -> None:
    """Ends a node: torchrun, and the processes that it has started in sessions of their own."""
    if job.poll() is None:
        for pid in (*children(job.pid), job.pid):
            os.kill(pid, signal.SIGKILL)
        job.wait()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]


def said(folder: Path, rank: int) -> str:
    return (folder / f'node_{rank}').read_text()


@pytest.fixture(scope='module')
def folder(options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training on two nodes that share no work dir: ``first`` is the first node's, ``second`` the other's."""
    folder = tmp_path_factory.mktemp('nodes')
    trainings = [(CONFIG, 1, '--work-dir', folder / name, *options) for name in ('first', 'second')]
    with nodes(folder, 'tools/dist_train.sh', trainings) as jobs:
        assert [job.wait(LIMIT) for job in jobs] == [0, 0], said(folder, 0)[-3000:] + said(folder, 1)[-3000:]
    return folder


def test_two_nodes_train_as_two_processes_of_one_do(folder: Path, options: list[str], tmp_path: Path) -> None:
    pair = start_job(
        2, tmp_path, tool, 'tools/train.py', CONFIG, '--work-dir', tmp_path, '--launcher', 'pytorch', *options
    )
    assert finish(*pair) == [0, 0], (tmp_path / 'output_0').read_text()[-3000:]
    ours, theirs = (load_checkpoint_file(each / 'epoch_1.pth')['state_dict'] for each in (folder / 'first', tmp_path))
    assert len(ours) > 100 and [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    assert [file for file in (folder / 'second').rglob('*') if file.is_file()] == []
    assert 'Epoch(val)' in said(folder, 0) and 'Epoch(' not in said(folder, 1)


def test_nodes_that_do_not_find_one_checkpoint_are_stopped(folder: Path, options: list[str], tmp_path: Path) -> None:
    def arguments(name: str) -> list[object]:
        return ['--work-dir', folder / name, '--resume', 'auto', '--launcher', 'pytorch', *options]

    job = start_job(2, tmp_path, resume, arguments('first'), arguments('second'))
    assert finish(*job) == [1, 1]
    for rank in range(2):
        printed = (tmp_path / f'output_{rank}').read_text()
        assert 'process 0 on' in printed and 'resumes epoch_1.pth; process 1 on' in printed
        assert 'has no checkpoint and begins anew. Let all machines share the work dir' in printed


def resume(*arguments: Sequence[object]) -> None:
    tool('tools/train.py', CONFIG, *arguments[int(os.environ['RANK'])])


def test_two_nodes_give_one_table(folder: Path, options: list[str], tmp_path: Path) -> None:
    checkpoint = folder / 'first' / 'epoch_1.pth'
    outputs = [tmp_path / f'{name}.json' for name in ('first', 'second')]
    tests = [(CONFIG, checkpoint, 1, '--out', out, '--work-dir', tmp_path / out.stem, *options) for out in outputs]
    with nodes(tmp_path, 'tools/dist_test.sh', tests) as jobs:
        assert [job.wait(LIMIT) for job in jobs] == [0, 0], said(tmp_path, 0)[-3000:] + said(tmp_path, 1)[-3000:]
    assert [out.exists() for out in outputs] == [True, False]
    assert 0 <= json.loads(outputs[0].read_text())['val/mIoU'] <= 100
    assert 'deranged' in said(tmp_path, 0) and 'deranged' not in said(tmp_path, 1)


def test_a_node_that_dies_ends_the_other(options: list[str], tmp_path: Path) -> None:
    trainings = [(CONFIG, 1, '--work-dir', tmp_path, *options, 'train_cfg.max_epochs=1000')] * 2
    with nodes(tmp_path, 'tools/dist_train.sh', trainings) as (first, second):
        deadline = time.monotonic() + LIMIT
        while not (tmp_path / 'last_checkpoint').exists() and first.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        kill(second)
        killed = time.monotonic()
        assert first.wait(60) != 0
        print(f'The first node ended {time.monotonic() - killed:.1f} s after the second one was killed.')
    printed = said(tmp_path, 0)
    assert 'Process 0 of 2 stops: another process is gone, or did not answer in time.' in printed
    assert (tmp_path / (tmp_path / 'last_checkpoint').read_text()).is_file()
