"""Runs the tools as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIG = 'configs/cm_masksd/vit-tiny_refshapes.py'


def environment() -> dict[str, str]:
    # One thread: sums are then added in one order, so that runs can be compared to the last bit.
    folders = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    return {
        **os.environ,
        'PYTHONPATH': folders,
        'OMP_NUM_THREADS': '1',
        'PATH': f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}',
    }


def run_tool(*command: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs ``python COMMAND`` (or ``bash COMMAND`` for a script) in the checkout; a failure shows what the tool
    printed.
    """
    words = [str(word) for word in command]
    words.insert(0, 'bash' if words[0].endswith('.sh') else sys.executable)
    done = subprocess.run(words, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=600)
    if check:
        assert done.returncode == 0, f'{" ".join(words)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}'
    return done
