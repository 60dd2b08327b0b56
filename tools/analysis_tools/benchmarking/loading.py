"""A data loader with worker processes against the training step that it feeds."""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from cmmasksd.registry import MODELS

from .data import data_for
from .timing import wait
from .training import BRANCHES, optimiser_of, train_once, with_branches


@dataclass(frozen=True)
class LoadingMeasurement:
    """Images a second: of the loader alone, of steps on one batch again and again, of steps on the loader's batches."""

    source: str
    workers: int
    loader: float
    step: float
    fed: float


def measure_loading(
    cfg: Config, batch_size: int, workers: int, steps: int, device: torch.device, amp: bool
) -> dict[str, LoadingMeasurement]:
    """Measures training with both branches, fed by ``workers`` processes, with and without pinned memory on a GPU."""
    with data_for(with_branches(cfg)) as (cfg, source), DefaultScope.overwrite_default_scope('cmmasksd'):
        model = MODELS.build(cfg.model).to(device).train()
        train = partial(_train, model, optimiser_of(model, cfg, amp), device)
        ways = {'pageable memory': False, **({'pinned memory': True} if device.type == 'cuda' else {})}
        found = {}
        for name, pin in ways.items():
            loader = _build(cfg, batch_size, workers, 2 * steps + workers * 3 + 3, pin)
            batches = iter(loader)
            first = next(batches)
            train(itertools.repeat(first, 3))
            step = batch_size * steps / train(itertools.repeat(first, steps))
            fed = batch_size * steps / train(itertools.islice(batches, steps))
            found[name] = LoadingMeasurement(source, workers, _alone(loader, batch_size, steps, workers), step, fed)
            del batches
        return found


def _train(model: Any, optimiser: Any, device: torch.device, batches: Iterator[dict[str, Any]]) -> float:
    """Seconds."""
    names = tuple(name.lower() for name in BRANCHES)
    wait(device)
    start = time.perf_counter()
    for batch in batches:
        train_once(model, batch, optimiser, names)
    wait(device)
    return time.perf_counter() - start


def _alone(loader: DataLoader, batch_size: int, steps: int, workers: int) -> float:
    """Images a second after what the workers prepare ahead has been taken."""
    batches = iter(loader)
    for _ in itertools.islice(batches, 2 * workers + 1):
        pass
    start = time.perf_counter()
    for _ in itertools.islice(batches, steps):
        pass
    return batch_size * steps / (time.perf_counter() - start)


def _build(cfg: Config, batch_size: int, workers: int, batches: int, pin: bool) -> DataLoader:
    """A loader of at least so many batches: the data set is met again and again."""
    loader = copy.deepcopy(cfg.train_dataloader)
    loader.update(batch_size=batch_size, num_workers=workers, persistent_workers=False, pin_memory=pin)
    one = Runner.build_dataloader({**loader, 'num_workers': 0})
    times = math.ceil(batches * batch_size / len(one.dataset))  # type: ignore[arg-type]
    loader.dataset = dict(type='RepeatDataset', dataset=loader.dataset, times=times)
    return Runner.build_dataloader(loader)
