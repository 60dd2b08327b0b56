"""What the quick start does, step by step, on a machine whose Python only writes down what it is asked to do."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.test_tools.running import ROOT

ENVIRONMENT = """
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
make_environment() { python="$root/.venv/bin/python"; }
fill_venv() { echo "install $*" >>"$root/log"; }
step() { echo "==> $1"; "${@:2}"; }
"""
PYTHON = """#!/bin/sh
case "$1 $2" in
"-c import skimage") exit "$NO_SKIMAGE" ;;
-c*) "$REAL" "$1" "$2"; exit ;;
esac
echo "$*" >>"$LOG"
case "$1" in
tools/train.py) mkdir -p work_dirs/quickstart; touch work_dirs/quickstart/best_mIoU_epoch_4.pth ;;
esac
"""
PRECISION = """
def choose_precision(asked, device):
    assert (asked, device) == ('auto', 'cpu')
    return {answer!r}
"""
TORCH = 'class cuda:\n    is_available = staticmethod(lambda: False)\n'


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    (tmp_path / 'tools').mkdir()
    shutil.copy(ROOT / 'tools/quickstart.sh', tmp_path / 'tools')
    (tmp_path / 'tools/environment.sh').write_text(ENVIRONMENT)
    python = tmp_path / '.venv/bin/python'
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON)
    python.chmod(0o755)
    (tmp_path / 'cmmasksd').mkdir()
    (tmp_path / 'torch.py').write_text(TORCH)
    return tmp_path


def quickstart(machine: Path, *arguments: str, answer: str = 'bfloat16', skimage: bool = True) -> list[str]:
    """Runs it; gives what was done."""
    (machine / 'cmmasksd/precision.py').write_text(PRECISION.format(answer=answer))
    (machine / 'log').unlink(missing_ok=True)
    real = shutil.which('python3')
    assert real is not None
    stand_ins = dict(LOG=str(machine / 'log'), NO_SKIMAGE=str(int(not skimage)), REAL=real, PYTHONPATH=str(machine))
    command = ['bash', 'tools/quickstart.sh', *arguments]
    done = subprocess.run(command, cwd=machine, env={**os.environ, **stand_ins}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'best_mIoU_epoch_4.pth' in done.stdout
    return (machine / 'log').read_text().splitlines()


CONFIG = 'configs/cm_masksd/resnet-tiny_refshapes-benchmark.py'
DATA = '-m cmmasksd.datasets.refshapes data/refshapes --benchmark --seed 0'
TRAIN = f'tools/train.py {CONFIG} --work-dir work_dirs/quickstart --resume auto'
TEST = (
    f'tools/test.py {CONFIG} work_dirs/quickstart/best_mIoU_epoch_4.pth --work-dir work_dirs/quickstart '
    '--show-dir work_dirs/quickstart/panels'
)


def test_a_fast_device_trains_in_bfloat16(machine: Path) -> None:
    assert quickstart(machine, 'x', 'y') == [DATA, f'{TRAIN} --amp x y', TEST]


def test_another_trains_half_as_long(machine: Path) -> None:
    options = '--cfg-options train_cfg.max_epochs=2'
    assert quickstart(machine, answer='float32') == [DATA, f'{TRAIN} {options}', TEST]


def test_a_finished_training_is_not_repeated_unless_asked(machine: Path) -> None:
    quickstart(machine)
    assert quickstart(machine) == [DATA, TEST]
    assert quickstart(machine, '--fresh') == [DATA, f'{TRAIN} --amp', TEST]


def test_photographs_are_installed_where_they_are_missing(machine: Path) -> None:
    done = quickstart(machine, skimage=False)
    assert done == [f'install {machine}/.venv scikit-image', DATA, f'{TRAIN} --amp', TEST]
