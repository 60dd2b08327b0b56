"""What RefShapes scores without learning."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from cmmasksd.datasets.refshapes.benchmark import make_refshapes_benchmark
from tests.test_tools.running import ROOT

TOOL = str(ROOT / 'tools/analysis_tools/refshapes_baselines.py')


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, 'argv', [TOOL, *map(str, arguments)])
    runpy.run_path(TOOL, run_name='__main__')


def test_baselines_score_what_they_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    make_refshapes_benchmark(tmp_path, 30, seed=1)
    capsys.readouterr()
    run(monkeypatch, tmp_path, '--splits', 'testA', 'testB', 'train')
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith('|')]
    header, *rows = ([cell.strip() for cell in line.strip('|').split('|')] for line in lines)
    assert header == ['split', 'baseline', 'mIoU', 'oIoU', 'Pr@0.5', 'Pr@0.7', 'Pr@0.9', 'Loc']
    scores = {(split, name): dict(zip(header[2:], map(float, numbers))) for split, name, *numbers in rows}
    assert len(scores) == 3 * 6
    looks = 'right looks, position ignored'
    assert scores['testA', looks]['Loc'] == scores['testA', looks]['mIoU'] == 100  # attributes tell one thing
    assert 30 < scores['train', looks]['Loc'] < 95
    assert 0 < scores['train', 'everything']['mIoU'] < 15 and scores['train', 'everything']['Pr@0.5'] == 0
    for name in ('random object', 'largest object', 'object nearest to the middle'):
        row = scores['train', name]
        assert 5 < row['Loc'] < 50 and row['Loc'] == pytest.approx(row['mIoU'], abs=0.01) == row['Pr@0.9']


def test_a_mistake_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match='^Error: .*refshapes-benchmark.* not found'):
        run(monkeypatch, tmp_path)


def test_help_needs_no_torch() -> None:
    code = (
        f"import runpy, sys; sys.argv = ['x', '--help']\ntry: runpy.run_path({TOOL!r}, run_name='__main__')\n"
        "except SystemExit: print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-2:] == ['False', 'False']
