"""Works off runs, several at a time, each in processes of its own; what was interrupted goes on from its last
checkpoint.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .runs import TRAINED, Run, TableError

TOOLS = Path(__file__).resolve().parents[2]
PATIENCE = 20  # seconds for a process to end before it is killed


@dataclass(frozen=True)
class Way:
    """How trainings and evaluations are started.

    Attributes:
        processes: of one run, by torchrun; 0: one, without.
        amp: bfloat16 autocast.
        options: overrides of the config, as text.
    """

    processes: int
    amp: bool
    options: Mapping[str, str]

    def train(self, run: Run) -> list[str]:
        """The command that trains a run, or goes on with it."""
        return [
            *self._start('train.py'),
            str(run.config),
            *('--work-dir', str(run.folder), '--resume', 'auto'),
            *self._end({**self.options, 'randomness.seed': str(run.seed)}),
        ]

    def test(self, run: Run) -> list[str]:
        """The command that evaluates a trained run."""
        return [
            *self._start('test.py'),
            str(run.config),
            str(run.find_checkpoint()),
            *('--work-dir', str(run.folder / 'test'), '--out', str(unfinished(run))),
            *self._end(self.options),
        ]

    def _start(self, tool: str) -> list[str]:
        torchrun = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', str(self.processes)]
        return [sys.executable, *(torchrun if self.processes else []), str(TOOLS / tool)]

    def _end(self, options: Mapping[str, str]) -> list[str]:
        launcher = ['--launcher', 'pytorch'] if self.processes else []
        chosen = ['--cfg-options', *(f'{key}={value}' for key, value in options.items())] if options else []
        return [*launcher, *(['--amp'] if self.amp else []), *chosen]


def unfinished(run: Run) -> Path:
    """Where an evaluation writes, until it has come to its end."""
    return run.metrics_file.with_suffix('.part')


class Job:
    """A run that is being worked on. The lock on its folder is inherited by its processes: it is held as long as any of
    them lives, also where the table's own process was killed.
    """

    def __init__(self, run: Run, slot: int, environment: Mapping[str, str]) -> None:
        self.run, self.slot = run, slot
        self._environment = environment
        self._lock: IO[str] = open(run.folder / 'lock', 'w')
        self._log: IO[str] = open(run.folder / 'output.log', 'a')
        self.process: subprocess.Popen | None = None
        self.stage = ''

    def take_lock(self) -> bool:
        """Whether no other process works on this run; it is then this one's."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            return False
        return True

    def start(self, way: Way) -> None:
        """Begins what comes next."""
        self.stage = 'evaluation' if self.run.is_trained else 'training'
        self.process = subprocess.Popen(
            way.test(self.run) if self.run.is_trained else way.train(self.run),
            env=dict(self._environment),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[self._lock.fileno()],
        )

    def note(self) -> None:
        """Writes down that a stage has come to its end."""
        if self.stage == 'training':
            (self.run.folder / TRAINED).touch()
        else:
            unfinished(self.run).replace(self.run.metrics_file)

    def last_words(self) -> str:
        """The last line of the log."""
        lines = Path(self._log.name).read_text(errors='replace').split('\n')
        return next((line.strip() for line in reversed(lines) if line.strip()), 'nothing was said')

    def stop(self) -> None:
        """Ends its processes."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.close()

    def close(self) -> None:
        """Lets go of lock and log."""
        self._lock.close()
        self._log.close()


def work_off(runs: Sequence[Run], way: Way, environments: Sequence[Mapping[str, str]]) -> list[str]:
    """Trains and evaluates what is not finished.

    Args:
        runs: of which finished ones are left alone.
        way: how.
        environments: of the processes; as many runs are worked on at a time.

    Returns:
        What failed, a sentence each; other runs went on.
    """
    waiting = [run for run in runs if not run.metrics_file.exists()]
    print(f'{len(runs) - len(waiting)} of {len(runs)} runs are finished.', flush=True)
    active: list[Job] = []
    failures: list[str] = []
    told: set[str] = set()
    try:
        while waiting or active:
            fill(waiting, active, way, environments, told)
            for job in [job for job in active if job.process is not None and job.process.poll() is not None]:
                if not goes_on(job, way, failures):
                    active.remove(job)
                    job.close()
            time.sleep(0.2)
    finally:
        for job in active:
            job.stop()
    return failures


def fill(
    waiting: list[Run], active: list[Job], way: Way, environments: Sequence[Mapping[str, str]], told: set[str]
) -> None:
    """Begins runs wherever there is room. One that another process works on is passed over and tried again later; it
    may then be finished.
    """
    for run in list(waiting):
        free = sorted(set(range(len(environments))) - {job.slot for job in active})
        if not free:
            return
        job = Job(run, free[0], environments[free[0]])
        if not job.take_lock():
            if run.name not in told:
                print(f'{run.name}: another process works in {run.folder}; waiting for it.', flush=True)
                told.add(run.name)
            continue
        waiting.remove(run)
        if run.metrics_file.exists():
            job.close()
            continue
        active.append(job)
        begin(job, way)


def begin(job: Job, way: Way) -> None:
    job.start(way)
    print(f'{job.run.name}: {job.stage} ({job.run.folder / "output.log"})', flush=True)


def goes_on(job: Job, way: Way, failures: list[str]) -> bool:
    """Whether a job, a process of which has come to its end, has begun another."""
    assert job.process is not None
    if job.process.returncode:
        failures.append(f'{job.run.name}: the {job.stage} failed: {job.last_words()} (see {job.run.folder}/output.log)')
        print(failures[-1], flush=True)
        return False
    job.note()
    if job.stage == 'evaluation':
        print(f'{job.run.name}: finished', flush=True)
        return False
    try:
        begin(job, way)
    except TableError as error:
        failures.append(f'{job.run.name}: {error}')
        print(failures[-1], flush=True)
        return False
    return True
