"""Times of several variants of one work, taken turn about, and what may be said of them."""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import TypeVar

import torch

Work = Callable[[], object]
Result = TypeVar('Result')
MEGABYTE = 1e6


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of samples."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: list[float]) -> Spread:
        """Of at least one sample; a single one is its own quartiles."""
        if len(samples) == 1:
            return cls(samples[0], samples[0], samples[0])
        low, _, high = quantiles(samples, n=4, method='inclusive')
        return cls(median(samples), low, high)


def time_in_turn(works: Mapping[str, Work], repeats: int, warmup: int, device: torch.device) -> dict[str, list[float]]:
    """Runs the works one after the other, again and again: A B C, C B A, A B C ...

    What slows the machine for a while, or heats it, then meets all variants alike, and samples of one round can be
    compared.

    Args:
        works: what to run, by name.
        repeats: rounds that count, at least 1.
        warmup: rounds before them.
        device: where the works run; a GPU is waited for before a clock is read.

    Returns:
        Seconds of every work, one sample a round.
    """
    samples: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(warmup + repeats):
        for name in list(works) if turn % 2 == 0 else reversed(list(works)):
            seconds = _time(works[name], device)
            if turn >= warmup:
                samples[name].append(seconds)
    return samples


def paired_ratio(samples: list[float], base: list[float]) -> Spread:
    """The ratio to ``base``, round by round."""
    return Spread.of([one / other for one, other in zip(samples, base, strict=True)])


def peak_memory(work: Callable[[], Result], device: torch.device) -> tuple[float, Result]:
    """Runs the work once: megabytes at the worst moment, and what the work returned.

    They are what torch allocated on a GPU, weights included, or what this whole process held on a CPU; where the system
    does not let a process's peak be reset, the peak of its life so far.
    """
    gc.collect()
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
        result = work()
        return torch.cuda.max_memory_allocated(device) / MEGABYTE, result
    resettable = _reset_peak()
    result = work()
    if not resettable:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MEGABYTE, result
    status = Path('/proc/self/status').read_text()
    return int(status.split('VmHWM:')[1].split()[0]) * 1024 / MEGABYTE, result


def _reset_peak() -> bool:
    try:
        Path('/proc/self/clear_refs').write_text('5')  # of Linux; see proc(5)
    except OSError:
        return False
    return True


def _time(work: Work, device: torch.device) -> float:
    wait(device)
    start = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - start


def wait(device: torch.device) -> None:
    """Until the device has done all that it was given."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
