"""demo/image_demo.py, by OpenMMLab's flags."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.test_tools.running import ROOT
from tests.untrained import make_pictures, make_run


def run_demo(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, 'argv', ['image_demo.py', *map(str, arguments)])
    try:
        runpy.run_path(str(ROOT / 'demo/image_demo.py'), run_name='__main__')
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_it_writes_a_panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    (name,) = make_pictures(tmp_path, 1)
    positional = tmp_path / name, 'vit-tiny_refshapes', make_run(tmp_path)
    options = '--text', 'left zebra', 'the tree', '--opacity', '0.3', '--device', 'cpu', '--threshold', '0.1'
    assert run_demo(monkeypatch, *positional, *options, '--out-file', tmp_path / 'out/panel.png') == 0
    told = capsys.readouterr().out
    assert "'left zebra': " in told and f'Panel: {tmp_path}/out/panel.png' in told
    assert Image.open(tmp_path / 'out/panel.png').height > 40


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['a.png', 'c.py', 'w.pth', '--text', 'a'], 'name an --out-file to write, or ask for a window by --show'),
        (['a.png', 'c.py', 'w.pth', '--text', 'a', '--out-file', 'x.png', '--opacity', '2'], 'no number from 0 to 1'),
        (['a.png', 'c.py', 'w.pth', '--text', 'a', '--out-file', 'x.png'], 'c.py: no such file'),
        (['a.png', 'vit-tiny_refshapes', 'w.pth', '--text', 'a', '--out-file', 'x.png'], 'w.pth'),
    ],
)
def test_wrong_calls(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_demo(monkeypatch, *arguments) == 2
    assert message in ' '.join(capsys.readouterr().err.split())
