"""Exports beside torch, by the tool."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cmmasksd.datasets.refshapes import make_refshapes
from tests.published_models import make_config, save_checkpoint
from tests.test_tools.running import ROOT, environment

for needed in ('onnx', 'onnxruntime', 'onnxscript'):
    pytest.importorskip(needed)
pytestmark = pytest.mark.slow


def run(*arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_exports_beside_torch(tmp_path: Path) -> None:
    make_refshapes(tmp_path, num_images=20, seed=1, image_sizes=[(64, 96)])
    weights, cfg = tmp_path / 'epoch_1.pth', make_config()
    save_checkpoint(cfg, weights)
    cfg.dump(str(tmp_path / 'config.py'))
    given = ['--config', tmp_path / 'config.py']
    for precision in ('float32', 'int8'):
        run('tools/deployment/export_onnx.py', weights, tmp_path / precision, *given, '--precision', precision)
    data = ['--data-root', tmp_path, '--dataset', 'refshapes', '--split', 'train', '--images', 4, '--repeats', 1]
    said = run('tools/deployment/benchmark_onnx.py', weights, tmp_path / 'float32', tmp_path / 'int8', *given, *data)
    rows = re.findall(r'\| +(\S.*?) \| +([\d.]+) \| +([\d.]+) \| +([\d.]+)% \|', said)
    assert [row[0] for row in rows] == ['torch', 'float32 (float32)', 'int8 (int8)']
    assert rows[0][1:] != ('0.00', '0.00', '0.0000') and float(rows[0][3]) == 0 and float(rows[1][3]) < 0.1
    assert len(re.findall(r'/ torch: [\d.]+ \(', said)) == 4
