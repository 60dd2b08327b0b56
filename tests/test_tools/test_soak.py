"""A short version of tools/analysis_tools/soak.py: open files stay as many as they are, memory does not grow with the
steps.
"""

from __future__ import annotations

import ctypes
import json
from pathlib import Path

import numpy as np
import pytest

from tests.forking import run, tool
from tests.test_tools.running import CONFIG

STEPS, WARM_UP = 24, 8
LEAK = 100_000  # bytes a step: a fifteenth of one prediction at the size of COCO's pictures, 480 x 640 x (4 + 1)
M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
# One step and one evaluation an epoch, which starts new workers; no checkpoint, for which memory would come and go.
OPTIONS = (
    'train_dataloader.persistent_workers=False',
    'train_dataloader.batch_size=2',
    'val_dataloader.num_workers=0',
    'val_dataloader.persistent_workers=False',
    'default_hooks.checkpoint.interval=1000',
    'default_hooks.checkpoint.save_last=False',
    'default_hooks.checkpoint.save_best=None',
)


def soak(*arguments: object) -> None:
    """The tool, with every tensor in pages of its own, which are given back at once: what is left over by others would
    hide a short run's leak.
    """
    ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 2**16)
    tool('tools/analysis_tools/soak.py', CONFIG, *arguments)


@pytest.mark.slow
def test_memory_and_open_files_stay_flat(tmp_path: Path) -> None:
    own = [
        '--work-dir',
        tmp_path / 'work_dir',
        '--out',
        tmp_path / 'soak.json',
        '--steps',
        STEPS,
        '--evaluations',
        STEPS,
    ]
    code = run(soak, *own, '--cfg-options', *OPTIONS, log=tmp_path / 'output')
    printed = (tmp_path / 'output').read_text()
    assert code == 0 and 'slope' in printed, printed[-3000:]
    found = json.loads((tmp_path / 'soak.json').read_text())
    each = found['each'][WARM_UP:]
    assert len(each) == STEPS - WARM_UP and each[-1]['step'] == STEPS and each[0]['memory'] > 2**27
    assert {sample['files'] for sample in each} == {each[0]['files']}
    # a leak adds to every step, so even the lower quartile of the growths rises, which those that come and go do not
    # move
    assert np.quantile(np.diff([sample['memory'] for sample in each]), 0.25) < LEAK
