"""Processes forked from one that has imported everything: a test starts several in the time of one interpreter."""

from __future__ import annotations

import gc
import multiprocessing
import multiprocessing.forkserver
import os
import runpy
import socket
import sys
import traceback
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from yapf.yapflib import yapf_api

from tests.test_tools.running import ROOT, environment

PRELOAD = [
    'torchvision',
    'open_clip.tokenizer',
    'matplotlib.figure',
    'cmmasksd.apis',
    'cmmasksd.models',
    'cmmasksd.engine',
    __name__,
]
LIMIT = 300  # seconds


def start(target: Callable[..., Any], *arguments: object, log: Path | None = None) -> BaseProcess:
    """Starts ``target(*arguments)`` in a process of its own with one thread; what it prints goes to ``log``."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(PRELOAD)
    before = dict(os.environ)
    try:
        os.environ.update(environment())  # the server keeps what it finds at its start
        multiprocessing.forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)
    process = context.Process(target=_run, args=(target, arguments, log))
    process.start()
    return process


def finish(*processes: BaseProcess) -> list[int]:
    """Waits for the processes and gives their exit codes: 0, or -9 where a process was killed."""
    for process in processes:
        process.join(LIMIT)
        if process.is_alive():
            process.kill()
            process.join()
            raise AssertionError(f'{process.name} hangs')
    return [process.exitcode for process in processes]


def run(target: Callable[..., Any], *arguments: object, log: Path | None = None) -> int:
    return finish(start(target, *arguments, log=log))[0]


def run_ranks(target: Callable[..., Any], world_size: int, folder: Path, *arguments: object) -> list[str]:
    """Runs ``target(*arguments)`` as ``world_size`` processes of one gloo group; gives what each printed."""
    logs = [folder / f'rank_{rank}.log' for rank in range(world_size)]
    ranks = [start(_run_rank, target, rank, world_size, folder, arguments, log=log) for rank, log in enumerate(logs)]
    codes, printed = finish(*ranks), [log.read_text() for log in logs]
    assert codes == [0] * world_size, '\n'.join(printed)
    return printed


def tool(script: str, *arguments: object) -> None:
    """``python SCRIPT ARGUMENTS``, in the process at hand; the config's text is not made pretty, which would take
    longer than the training.
    """
    yapf_api.FormatCode = lambda text, **style: (text, True)
    sys.argv = [script, *map(str, arguments)]
    runpy.run_path(str(ROOT / script), run_name='__main__')


def start_job(world_size: int, folder: Path, target: Callable[..., Any], *arguments: object) -> list[BaseProcess]:
    """Starts ``target(*arguments)`` as the processes of one job, with the variables that torchrun sets but without
    torchrun.
    """
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    return [
        start(_run_in_job, target, rank, world_size, port, arguments, log=folder / f'output_{rank}')
        for rank in range(world_size)
    ]


def _run_in_job(target: Callable[..., Any], rank: int, world_size: int, port: int, arguments: tuple) -> None:
    own = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=world_size, MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
    os.environ.update({name: str(value) for name, value in own.items()})
    target(*arguments)


def _run_rank(target: Callable[..., Any], rank: int, world_size: int, folder: Path, arguments: tuple) -> None:
    import torch.distributed as dist

    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=world_size)
    target(*arguments)
    dist.barrier()
    dist.destroy_process_group()


def _run(target: Callable[..., Any], arguments: tuple, log: Path | None) -> None:
    gc.freeze()  # mmengine collects garbage at every start; what is imported is none
    os.chdir(ROOT)
    if log is not None:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
    try:
        target(*arguments)
    except BaseException:  # what a fresh interpreter would do with it
        traceback.print_exc()
        sys.stderr.flush()
        raise
