"""What the command lines say of arguments that cannot be, before anything long begins."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

from cmmasksd.checkpoints import CheckpointError
from tests.test_tools.running import ROOT


@pytest.mark.parametrize(
    ('option', 'path', 'message'),
    [
        ('--out', 'file/metrics.json', r'file cannot be made \(.*\); choose another folder'),
        ('--out', 'folder', 'folder is a folder; name a file in it'),
        ('--show-dir', 'file', r'file cannot be made \(.*\); choose another folder'),
        ('--show-dir', 'file/panels', 'panels cannot be made'),
        ('--show-dir', '/proc/panels', 'panels cannot be made'),
    ],
)
def test_outputs_that_cannot_be_written_are_refused_at_once(
    option: str, path: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / 'file').write_text('')
    (tmp_path / 'folder').mkdir()
    monkeypatch.setattr(sys, 'argv', ['test.py', 'config.py', 'checkpoint.pth', option, str(tmp_path / path)])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(ROOT / 'tools/test.py'), run_name='__main__')
    said = capsys.readouterr().err
    assert caught.value.code == 2
    assert re.search(message, ' '.join(said.split()))


def test_outputs_that_can_be_written_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, panels = tmp_path / 'a' / 'b' / 'metrics.json', tmp_path / 'c' / 'panels'
    monkeypatch.setattr(
        sys, 'argv', ['test.py', 'config.py', 'checkpoint.pth', '--out', str(out), '--show-dir', str(panels)]
    )
    args = runpy.run_path(str(ROOT / 'tools/test.py'))['parse_args']()
    assert (args.out, args.show_dir) == (str(out), str(panels))
    assert out.parent.is_dir() and not out.exists() and panels.is_dir()


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--show-interval', '0', '--show-dir', '.'], "'0' is no whole number of at least 1"),
        (['--show-interval', '-3', '--show-dir', '.'], "'-3' is no whole number|expected one argument"),
        (['--show-interval', 'all', '--show-dir', '.'], "'all' is no whole number of at least 1"),
        (['--show-interval', '2'], '--show-interval needs --show-dir, the folder to draw into'),
        (['--cfg-options', 'model.threshold', '0.5'], "'model.threshold' is no KEY=VALUE"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_once(
    words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys, 'argv', ['test.py', 'config.py', 'checkpoint.pth', *words])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(ROOT / 'tools/test.py'), run_name='__main__')
    assert caught.value.code == 2
    assert re.search(message, ' '.join(capsys.readouterr().err.split()))


@pytest.mark.parametrize(('words', 'interval', 'most'), [([], None, None), (['--show-interval', '3'], 3, None)])
def test_a_folder_for_panels_turns_them_on(
    words: list[str], interval: int | None, most: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = str(ROOT / 'configs/cm_masksd/vit-tiny_refshapes.py')
    monkeypatch.setattr(sys, 'argv', ['test.py', config, 'checkpoint.pth', '--show-dir', str(tmp_path), *words])
    tool = runpy.run_path(str(ROOT / 'tools/test.py'))
    hook = tool['load_config'](tool['parse_args']()).default_hooks.visualization
    assert hook.draw and hook.out_dir == str(tmp_path)
    assert (hook.get('interval'), hook.get('max_images')) == (interval, most)


def test_only_a_checkpoint_of_a_training_run_is_published(tmp_path: Path) -> None:
    torch.save({'decode_head.weight': torch.zeros(1)}, tmp_path / 'plain.pth')
    publish = runpy.run_path(str(ROOT / 'tools/misc/publish_model.py'))['publish']
    with pytest.raises(CheckpointError, match='plain.pth has no state_dict: give a checkpoint of a training run'):
        publish(str(tmp_path / 'plain.pth'), str(tmp_path / 'published'))
