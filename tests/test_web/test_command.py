"""The page's command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cmmasksd.web import main
from tests.test_tools.running import ROOT

HEAVY = {'torch', 'gradio', 'mmengine', 'cv2', 'numpy', 'PIL'}


def test_help_needs_nothing_heavy() -> None:
    code = 'import runpy, sys\ntry:\n    runpy.run_path("tools/web.py", run_name="__main__")\nexcept SystemExit:\n    '
    code += 'print(*sys.modules)'
    command = [sys.executable, '-c', code, '--help']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert '--weights' in done.stdout and '--share' not in done.stdout
    assert 'cmmasksd.web.command' in done.stdout.split()
    assert not HEAVY & set(done.stdout.split())


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], 'bash tools/quickstart.sh'),
        (['--port', '70000'], "'70000' is no port"),
        (['--weights', 'absent.pth'], 'absent.pth'),
        (['--share'], 'unrecognized arguments: --share'),
    ],
)
def test_a_wrong_call_is_answered_in_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match='2'):
        main(arguments)
    assert message in capsys.readouterr().err


def test_without_gradio_one_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(SystemExit, match='2'):
        main([])
    assert "pip install 'cmmasksd[web]'" in capsys.readouterr().err


def test_weights_that_are_none_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = tmp_path / 'notes.pth'
    weights.write_text('no weights')
    with pytest.raises(SystemExit, match='2'):
        main(['--weights', str(weights), '--config', 'vit-tiny_refshapes', '--device', 'cpu'])
    assert 'notes.pth' in capsys.readouterr().err.splitlines()[-1]
