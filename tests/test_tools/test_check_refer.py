"""The checker as a user runs it."""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from cmmasksd.datasets.refshapes import make_refshapes
from tests.test_datasets.test_refer.test_reader import make_ref, make_set, write_set
from tests.test_tools.running import ROOT, environment, run_tool

TOOL = 'tools/dataset_converters/check_refer.py'


def run_here(monkeypatch: pytest.MonkeyPatch, *options: object) -> int:
    """The exit code of the tool run in this process, which need not import everything anew."""
    monkeypatch.setattr(sys, 'argv', [TOOL, *map(str, options)])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(ROOT / TOOL), run_name='__main__')
    return caught.value.code


def test_a_sound_folder_gives_code_0_and_its_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    make_refshapes(tmp_path, num_images=20, seed=3)
    file = tmp_path / 'report.json'
    assert (
        run_here(monkeypatch, tmp_path, '--dataset', 'refshapes', '--split-by', 'unc', '--jobs', 0, '--json', file) == 0
    )
    assert ': 0 errors, 0 warnings, 0 infos; 20 pictures decoded\n' in capsys.readouterr().out
    report = json.loads(file.read_text())
    assert report['images_decoded'] == 20 and report['splits']['train']['images'] == 17 and report['groups'] == []


def test_errors_give_code_1_and_warnings_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    write_set(tmp_path, *make_set())
    options = [tmp_path, '--dataset', 'refcoco', '--split-by', 'own', '--jobs', 0, '--max-examples', 1]
    assert run_here(monkeypatch, *options) == 1
    out = capsys.readouterr().out
    assert '  pictures that are missing: 2\n' in out and '    ... and 1 more\n' in out
    assert run_here(monkeypatch, *options, '--no-images') == 0
    assert ': 0 errors, 1 warning, 1 info; 0 pictures decoded\n' in capsys.readouterr().out


@pytest.mark.slow
def test_workers_find_what_one_process_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    make_refshapes(tmp_path, num_images=60, seed=3)
    first, second, third, *_ = sorted((tmp_path / 'images/train2014').iterdir())
    first.unlink()
    second.write_bytes(second.read_bytes()[:900])
    third.write_bytes(third.read_bytes()[:2000] + b'\xff\xd9')
    options = [tmp_path, '--dataset', 'refshapes', '--split-by', 'unc', '--jobs']
    texts = []
    for jobs in (2, 0):
        assert run_here(monkeypatch, *options, jobs) == 1
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] and '60 pictures decoded' in texts[0]
    assert all(name in texts[0] for name in ('missing: 1', 'cannot be decoded: 1', 'damage in the middle: 1'))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['nowhere', '--dataset', 'refcoco', '--split-by', 'unc'], 'nowhere is no folder'),
        (['.', '--split-by', 'unc'], '--dataset'),
        (['.', '--dataset', 'refcoco'], '--split-by'),
        (['.', '--dataset', 'refcoco', '--split-by', 'unc', '--token-length', '78'], '3 to 77 tokens'),
        (['.', '--dataset', 'refcoco', '--split-by', 'unc', '--jobs', '-1'], 'at least 0'),
        (['.', '--dataset', 'refcoco', '--split-by', 'unc', '--json', 'nowhere/report.json'], 'cannot be written'),
    ],
)
def test_a_wrong_call_ends_at_once_with_code_2(options: list[str], message: str) -> None:
    done = run_tool(TOOL, *options, check=False)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]


def children(pid: int) -> list[str]:
    return Path(f'/proc/{pid}/task/{pid}/children').read_text().split()


@pytest.mark.slow
def test_an_interrupt_ends_all_processes_in_one_line(tmp_path: Path) -> None:
    refs = [make_ref(number, number, number, 'train', f'dog {number}') for number in range(600)]
    images = [{'id': number, 'file_name': f'{number}.jpg', 'height': 1500, 'width': 2000} for number in range(600)]
    annotations = [
        {'id': number, 'image_id': number, 'segmentation': [[10, 5, 30, 5, 30, 25]]} for number in range(600)
    ]
    write_set(tmp_path, refs, {'images': images, 'annotations': annotations})
    folder = tmp_path / 'images/train2014'
    PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (1500, 2000, 3), dtype=np.uint8)).save(
        folder / '0.jpg'
    )
    for image in images[1:]:
        (folder / image['file_name']).hardlink_to(folder / '0.jpg')
    command = [sys.executable, TOOL, str(tmp_path), '--dataset', 'refcoco', '--split-by', 'own', '--jobs', '2']
    running = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    # the processes that serve workers
    while len(children(running.pid)) < 2 and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    os.killpg(running.pid, signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (130, '')
    assert err.strip().splitlines()[-1] == 'Stopped before the check was complete.' and 'Traceback' not in err
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.killpg(running.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail('processes are left over')
