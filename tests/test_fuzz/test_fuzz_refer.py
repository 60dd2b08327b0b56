"""A short fuzz run in the ordinary tests, and that the run finds what it looks for. The long one: python -m
tests.fuzz.fuzz_refer
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cmmasksd.datasets.refer import ReferError
from tests.fuzz import fuzz_refer
from tests.fuzz.mutations import mutate
from tests.fuzz.seeds import JSON, PICKLES

ROOT = Path(__file__).resolve().parents[2]
INPUTS = 300
WRITE = fuzz_refer.write_input


def judge(tmp_path: Path, files: tuple[bytes, bytes], megabytes: int = 512) -> str:
    fuzz_refer.write_input(tmp_path, files)
    return fuzz_refer.judge(tmp_path, megabytes)


@pytest.mark.parametrize('kind', fuzz_refer.KINDS)
def test_broken_files_are_read_or_refused_by_our_own_errors(kind: str) -> None:
    outcomes = dict(fuzz_refer.run(kind, seed=0, count=INPUTS, seconds=60, megabytes=1024))
    assert list(outcomes) == list(range(INPUTS))
    # both: a run in which all is refused at once would test little
    assert set(outcomes.values()) == {'read', 'refused'}


@pytest.mark.parametrize('content', PICKLES, ids=[f'protocol {number}' for number in range(6)])
def test_the_seeds_are_sound(tmp_path: Path, content: bytes) -> None:
    assert judge(tmp_path, (content, JSON)) == 'read'


@pytest.mark.parametrize('kind', fuzz_refer.KINDS)
def test_an_input_is_a_function_of_kind_seed_and_number(kind: str) -> None:
    inputs = [mutate(kind, 3, index) for index in range(50)]
    assert inputs == [mutate(kind, 3, index) for index in range(50)]
    assert len(set(inputs)) > 40 and set(inputs).isdisjoint(mutate(kind, 4, index) for index in range(50))


def fail(error: Exception) -> None:
    raise error


FAULTS = {
    'another exception': (lambda root: fail(KeyError('id')), "KeyError: 'id'"),
    'an error without the place': (lambda root: fail(ReferError('it is empty')), 'the error does not name the folder'),
    'a warning of numpy': (lambda root: np.array([2**62]) * np.int64(4) / np.zeros(1), 'RuntimeWarning'),
    'memory': (lambda root: bytearray(b'x' * 2**29), '[0-9]+ MiB of memory were taken'),
    'a crash': (lambda root: os.kill(os.getpid(), signal.SIGKILL), r'the process died \(exit code -9\)'),
    'a hang': (lambda root: time.sleep(60), 'nothing came for 2 s'),
}


@pytest.mark.parametrize('name', FAULTS)
def test_faults_are_found_and_the_run_goes_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    faulty, message = FAULTS[name]
    read_all = fuzz_refer.read_all
    number, seconds = iter(range(100)), 2 if name == 'a hang' else 60
    monkeypatch.setattr(fuzz_refer, 'read_all', lambda root: faulty(root) if next(number) == 2 else read_all(root))
    monkeypatch.setattr(fuzz_refer, 'write_input', lambda root, files: WRITE(root, (PICKLES[2], JSON)))
    outcomes = []
    for outcome in fuzz_refer.run('pickle', seed=0, count=4, seconds=seconds, megabytes=300):
        outcomes.append(outcome)
        if outcome[1] != 'read':  # the process begun anew counts from 0 again
            monkeypatch.setattr(fuzz_refer, 'read_all', read_all)
    assert [index for index, _ in outcomes] == [0, 1, 2, 3]
    assert [verdict for _, verdict in outcomes if verdict != 'read'] == [outcomes[2][1]]
    assert re.match(message, outcomes[2][1])


@pytest.mark.slow
def test_the_command_saves_what_fails_and_replays_it(tmp_path: Path) -> None:
    command = [sys.executable, '-m', 'tests.fuzz.fuzz_refer']
    failing = ['--inputs', '40', '--kinds', 'json', '--memory', '-1', '--save', tmp_path]
    done = subprocess.run([*command, *failing], cwd=ROOT, capture_output=True, text=True)
    saved = sorted(tmp_path.iterdir())
    assert done.returncode == 1 and len(saved) == 40 and '40 faults' in done.stdout
    done = subprocess.run([*command, '--replay', *saved[:5]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 5
