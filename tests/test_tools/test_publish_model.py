"""tools/misc/publish_model.py as a user runs it, in this process."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cmmasksd.apis import ReferringInferencer
from cmmasksd.apis.publishing import write_published
from cmmasksd.shipped import open_config
from tests import forking
from tests.fake_hub import MODEL, fake_hub
from tests.published_models import make_config, save_checkpoint, write_config
from tests.test_tools.running import CONFIG, ROOT

TOOL = str(ROOT / 'tools/misc/publish_model.py')


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, 'argv', ['publish_model.py', *map(str, words)])
    runpy.run_path(TOOL, run_name='__main__')


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """With the config of its run beside it."""
    cfg = make_config()
    save_checkpoint(cfg, tmp_path / 'epoch_1.pth')
    write_config(cfg, tmp_path / 'mine.py')
    return tmp_path / 'epoch_1.pth'


def test_a_folder_is_written_and_sent(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv('HF_TOKEN', 'hf_x')
    with fake_hub(monkeypatch, tmp_path / 'cache') as hub:
        run(monkeypatch, checkpoint, tmp_path / 'model', '--format', 'safetensors', '--push', MODEL, '--private')
        folder, address = capsys.readouterr().out.split()[-2:]
        assert folder == str(tmp_path / 'model') and MODEL in address and hub.private
        one, two = (ReferringInferencer.from_pretrained(name, device='cpu') for name in (folder, MODEL))
    states = one.model.state_dict(), two.model.state_dict()
    assert all(states[0][name].equal(states[1][name]) for name in states[0])


def test_one_file_is_the_default(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    run(monkeypatch, checkpoint, tmp_path / 'published')
    path = Path(capsys.readouterr().out.split()[-1])
    assert re.fullmatch(r'published-[0-9a-f]{8}\.pth', path.name)
    state = torch.load(path, weights_only=True)['state_dict']
    assert state and not [name for name in state if name.startswith('distillation.')]


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--license', 'mit'], '--license is for --format safetensors'),
        (['--push', MODEL], '--push is for --format safetensors'),
        (['--format', 'safetensors', '--private'], '--private needs --push'),
        (['--format', 'safetensors', '--results', 'nowhere.json'], 'nowhere.json is no file'),
        (['--format', 'pickle'], "invalid choice: 'pickle'"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_once(
    words: list[str], message: str, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(monkeypatch, checkpoint, 'out', *words)
    assert caught.value.code == 2 and message in capsys.readouterr().err


def test_a_fault_is_a_sentence(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'other.py').write_text('')
    with pytest.raises(SystemExit, match='^publish_model.py: .* holds 2 configs .*: give --config'):
        run(monkeypatch, checkpoint, tmp_path / 'model', '--format', 'safetensors')
    with pytest.raises(SystemExit, match='^publish_model.py: nonsense: no such file, and no shipped config'):
        run(monkeypatch, checkpoint, tmp_path / 'model', '--format', 'safetensors', '--config', 'nonsense')


def test_help_needs_no_torch() -> None:
    code = (
        f"import runpy, sys; sys.argv = ['x', '--help']\ntry: runpy.run_path({TOOL!r}, run_name='__main__')\n"
        "except SystemExit: print('torch' in sys.modules, 'mmengine' in sys.modules)"
    )
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-2:] == ['False', 'False']


@pytest.mark.slow
def test_a_published_model_is_tested_on_the_data_of_a_config(options: list[str], tmp_path: Path) -> None:
    cfg = open_config(CONFIG)
    save_checkpoint(cfg, tmp_path / 'epoch_1.pth')
    folder = write_published(tmp_path / 'epoch_1.pth', tmp_path / 'model', cfg)
    words = ['--splits', 'val', '--work-dir', tmp_path / 'work', '--out', tmp_path / 'test.json', *options]
    log = tmp_path / 'log'
    assert forking.run(forking.tool, 'tools/test.py', CONFIG, folder, *words, log=log) == 0, log.read_text()
    assert json.loads((tmp_path / 'test.json').read_text())['val/num_expressions'] > 0
    assert f'Load checkpoint from {folder}/model.safetensors' in log.read_text()
