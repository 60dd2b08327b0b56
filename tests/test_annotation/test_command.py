"""The backend's command line, and those of the two converters."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from cmmasksd.annotation import main
from cmmasksd.annotation.command import name_version
from cmmasksd.annotation.labelling import SHIPPED
from tests.test_annotation.test_server import LABELS, request_of, task_of
from tests.test_tools.running import ROOT, run_tool
from tests.untrained import make_run

HEAVY = {'torch', 'mmengine', 'cv2', 'numpy', 'PIL', 'starlette', 'uvicorn', 'httpx'}


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp('run'))


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('LABEL_STUDIO_URL', 'LABEL_STUDIO_API_KEY', 'BASIC_AUTH_USER', 'BASIC_AUTH_PASS'):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    'tool', ['label_studio.py', 'dataset_converters/to_label_studio.py', 'dataset_converters/from_label_studio.py']
)
def test_help_needs_nothing_heavy(tool: str) -> None:
    code = f'import runpy, sys\ntry:\n    runpy.run_path("tools/{tool}", run_name="__main__")\nexcept SystemExit:\n    '
    code += 'print(*sys.modules)'
    command = [sys.executable, '-c', code, '--help']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert '--labelling' in done.stdout or '--images' in done.stdout
    assert not HEAVY & set(done.stdout.split())


@pytest.mark.parametrize('style', SHIPPED)
def test_labelling_configs_are_printed(style: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(['--labelling', style])
    assert capsys.readouterr().out == SHIPPED[style]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], 'give the model: --weights CHECKPOINT'),
        (['--weights', 'absent.pth', '--port', '1'], '127.0.0.1:1 is in use, or no address'),
        (['--weights', 'absent.pth', '--host', '192.0.2.1'], '192.0.2.1:9090 is in use, or no address'),
        (['--port', '70000'], "'70000' is no port"),
        (['--images', 'absent'], 'absent is no folder'),
        (['--weights', 'absent.pth', '--label-studio', 'localhost:8080'], 'http://HOST:PORT'),
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
    if '--port' in arguments and arguments[-1] == '1':
        monkeypatch.setattr('socket.create_server', refuse)
    elif '--label-studio' in arguments:
        arguments = [*arguments, '--port', str(free_port())]
    with pytest.raises(SystemExit, match='2'):
        main(arguments)
    assert message in capsys.readouterr().err.splitlines()[-1]


def refuse(*args: Any, **kwargs: Any) -> socket.socket:
    raise OSError('in use')


def free_port() -> int:
    with socket.create_server(('127.0.0.1', 0)) as free:
        return free.getsockname()[1]


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None if name == 'uvicorn' else name)
    with pytest.raises(SystemExit, match='2'):
        main(['--weights', 'best.pth'])
    assert "uvicorn is not installed: pip install 'cmmasksd[annotation]'" in capsys.readouterr().err


def test_half_a_password_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv('BASIC_AUTH_USER', 'user')
    with pytest.raises(SystemExit, match='2'):
        main(['--weights', 'best.pth'])
    assert 'or neither' in capsys.readouterr().err


@pytest.mark.parametrize('with_password', [False, True])
def test_it_answers(
    checkpoint: Path,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    with_password: bool,
) -> None:
    served: list[Any] = []
    monkeypatch.setattr('cmmasksd.annotation.server.serve', lambda app, listener: served.extend([app, listener]))
    if with_password:
        monkeypatch.setenv('BASIC_AUTH_USER', 'user')
        monkeypatch.setenv('BASIC_AUTH_PASS', 'word')
    arguments = ['--weights', str(checkpoint), '--device', 'cpu', '--images', str(photos), '--threshold', '0']
    main([*arguments, '--host', '0.0.0.0', '--port', str(free_port())])
    app, listener = served
    listener.close()
    auth = ('user', 'word') if with_password else None
    (prediction,) = (
        TestClient(app).post('/predict', json=request_of([task_of('p0.png', **LABELS)]), auth=auth).json()['results']
    )
    version = name_version(str(checkpoint), 0.0)
    assert len(prediction['result']) == 2 and prediction['model_version'] == version
    said = capsys.readouterr().out
    assert f'Label Studio finds {version} at' in said and ('no password' in said) != with_password


def test_other_weights_and_thresholds_are_other_versions(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / 'best.pth').write_bytes(b'other weights')
    versions = [name_version(str(path), None) for path in (checkpoint, tmp_path / 'best.pth')]
    assert all(version.startswith('best ') for version in versions) and len({*versions}) == 2
    assert name_version(str(checkpoint), 0.5) == f'{versions[0]} above 0.5'
    assert name_version('owner/model', None) == 'model'


def test_the_converters_tell_what_is_next_or_wrong(tmp_path: Path) -> None:
    (tmp_path / 'empty.jsonl').write_text('')
    done = run_tool('tools/dataset_converters/to_label_studio.py', tmp_path / 'empty.jsonl', '--out-dir', tmp_path)
    assert 'tasks.json and labelling.xml; 0 tasks' in done.stdout
    (tmp_path / 'export.json').write_text(json.dumps([]))
    tool = 'tools/dataset_converters/from_label_studio.py'
    for out, message in (('table.csv', 'name it .jsonl'), ('table.jsonl', 'holds no mask')):
        command = [sys.executable, ROOT / tool, tmp_path / 'export.json', '--images', tmp_path, '--out', tmp_path / out]
        failed = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert failed.returncode and message in failed.stderr and 'Traceback' not in failed.stderr
