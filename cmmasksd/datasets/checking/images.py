"""Looks at all pictures in worker processes: few tasks at a time, results in order; a picture that crashes its process
is found and named.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import forkserver, resource_tracker
from typing import Any

from cmmasksd.datasets.checking.decoding import UNREADABLE, Problem, examine
from cmmasksd.datasets.refer.records import Image

_CHUNK = 8  # pictures of one task
_WAITING = 3  # tasks of each worker that are handed out at a time
_PRELOADED = ['torch', 'cv2', 'mmcv.transforms', 'mmengine.dataset']  # imported once for all workers

Examine = Callable[[Image], list[Problem]]
Result = tuple[Image, list[Problem]]


def examine_all(images: Sequence[Image], jobs: int, examine: Examine = examine) -> Iterator[Result]:
    """Gives every picture with what is the matter with it, in order.

    Args:
        images: the pictures.
        jobs: worker processes; 0 works in this one, where a decoder that crashes takes it along.
        examine: what to do with one picture; the workers import it by its name.
    """
    if jobs == 0:
        yield from ((image, examine(image)) for image in images)
        return
    chunks = deque(images[start : start + _CHUNK] for start in range(0, len(images), _CHUNK))
    while chunks:
        try:
            yield from _examine_together(chunks, jobs, examine)
        except BrokenProcessPool:  # one of the pictures that were handed out ended its process
            handed_out = [chunks.popleft() for _ in range(min(len(chunks), jobs * _WAITING))]
            yield from _examine_apart(deque(image for chunk in handed_out for image in chunk), examine)


def _examine_together(chunks: deque[Sequence[Image]], jobs: int, examine: Examine) -> Iterator[Result]:
    """Takes each chunk away once its results are there."""
    with _pool(jobs) as pool:
        upcoming = iter(tuple(chunks))
        waiting = deque(_submit(pool, _examine_chunk, chunk, examine) for chunk in islice(upcoming, jobs * _WAITING))
        while waiting:
            results = waiting.popleft().result()
            waiting.extend(_submit(pool, _examine_chunk, chunk, examine) for chunk in islice(upcoming, 1))
            yield from zip(chunks.popleft(), results, strict=True)


def _examine_apart(images: deque[Image], examine: Examine) -> Iterator[Result]:
    """One picture after another in one process, to find those that end it."""
    while images:
        try:
            with _pool(1) as pool:
                while images:
                    problems = _submit(pool, examine, images[0]).result()
                    yield images.popleft(), problems
        except BrokenProcessPool:
            reason = (
                'the process that decoded it crashed or ran out of memory; fetch the picture again, or use fewer jobs'
            )
            yield images.popleft(), [(UNREADABLE, reason)]


def _examine_chunk(images: Sequence[Image], examine: Examine) -> list[list[Problem]]:
    return [examine(image) for image in images]


@contextmanager
def _pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Workers forked from a clean process that has imported what they need: a fork of this one, which may have
    threads, could hang.
    """
    _start_server()
    pool = ProcessPoolExecutor(
        jobs, mp_context=multiprocessing.get_context('forkserver'), initializer=_leave_interrupts_to_the_parent
    )
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, task: Callable, *arguments: Any) -> Future:
    with _interrupts_held():  # it may start a process
        return pool.submit(task, *arguments)


def _start_server() -> None:
    """Starts the process that workers are forked from with Ctrl-C blocked: a terminal sends it to all processes, but
    only the parent answers it.
    """
    forkserver.set_forkserver_preload(_PRELOADED)
    with _interrupts_held():
        resource_tracker.ensure_running()  # the server would start it, and that unblocks the signal
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        forkserver.ensure_running()
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Puts Ctrl-C off until the end: in the middle of starting a process it would leave one behind that is half
    made.
    """
    if threading.current_thread() is not threading.main_thread():  # which alone gets KeyboardInterrupt
        yield
        return
    came: list[int] = []
    earlier = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, earlier)
    if came:
        raise KeyboardInterrupt


def _leave_interrupts_to_the_parent() -> None:
    """For workers of a server that ran before."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
