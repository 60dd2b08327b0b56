"""A short version of tools/analysis_tools/soak.py: open files stay as many as they are, memory does not grow with the steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.forking import run, tool
from tests.test_tools.running import CONFIG

pytestmark = pytest.mark.slow
STEPS = 32
LEAK = 100_000  # bytes a step: less than one picture with its mask, or one prediction, of each step would take
NO_CHECKPOINTS = ('default_hooks.checkpoint.interval=1000', 'default_hooks.checkpoint.save_last=False', 'default_hooks.checkpoint.save_best=None')
NEW_WORKERS = ('train_dataloader.persistent_workers=False', 'train_dataloader.batch_size=2')  # each epoch starts and ends one


def soak(folder: Path, leaks: str) -> None:
    from mmengine.hooks import Hook
    from mmengine.runner import Runner

    class Leaking(Hook):
        kept: list[Any] = []

        def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
            self.kept.append([sample.predictions.probabilities.clone() for sample in outputs] if leaks == 'memory' else open('/dev/null'))

    if leaks:
        train = Runner.train
        Runner.train = lambda runner: (runner.register_hook(Leaking()), train(runner))
    own = ['--work-dir', folder / 'work_dir', '--out', folder / 'soak.json', '--steps', STEPS, '--evaluations', STEPS]
    tool('tools/analysis_tools/soak.py', CONFIG, *own, '--cfg-options', *NO_CHECKPOINTS, *NEW_WORKERS)


def measure(folder: Path, leaks: str = '') -> dict[str, Any]:
    assert run(soak, folder, leaks, log=folder / 'output') == 0, (folder / 'output').read_text()[-3000:]
    return json.loads((folder / 'soak.json').read_text())


def test_memory_and_open_files_stay_flat(tmp_path: Path) -> None:
    found = measure(tmp_path)
    assert found['samples'] >= 20 and found['last_step'] == STEPS
    assert found['files']['first'] == found['files']['last'] == found['files']['highest'] > 0
    assert found['memory']['first'] > 2**27 and found['memory']['slope'] < LEAK
    assert 'slope' in (tmp_path / 'output').read_text()


@pytest.mark.parametrize('what', ['memory', 'files'])
def test_x(tmp_path: Path, what) -> None:
    found = measure(tmp_path, what)
    print(found['memory'], found['files'])
    assert 0
