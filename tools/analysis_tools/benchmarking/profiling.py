"""What the device does within a training step and an evaluation: the longest kernels, its idle time, what waits."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import torch
from mmengine.config import Config
from prettytable import PrettyTable
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from cmmasksd.registry import MODELS

from .evaluation import predict
from .inputs import random_batch
from .timing import wait
from .training import BRANCHES, optimiser_of, train_once, with_branches

ROWS = 15
WAITING = ('cudaStreamSynchronize', 'cudaDeviceSynchronize', 'cudaEventSynchronize', 'cudaLaunchKernel')
WAITING_OPS = ('aten::_local_scalar_dense', 'aten::nonzero', 'aten::copy_')


def profile_config(cfg: Config, batch_size: int, count: int, device: torch.device, amp: bool) -> list[str]:
    """Tables of one training step with both branches, and of ``count`` expressions of each of ``batch_size`` images."""
    cfg = with_branches(cfg)
    model = MODELS.build(cfg.model).to(device)
    names = tuple(name.lower() for name in BRANCHES)
    step = partial(
        train_once,
        model.train(),
        random_batch(cfg, [1] * batch_size, training=True),
        optimiser_of(model, cfg, amp),
        names,
    )
    tables = [profile_work(f'training step, {batch_size} images', step, device)]
    batch = random_batch(cfg, [count] * batch_size, training=False)
    evaluate = partial(predict, model.eval(), [batch], amp)
    return [*tables, profile_work(f'evaluation, {batch_size} images, {count} expressions each', evaluate, device)]


def profile_work(title: str, work: Callable[[], object], device: torch.device) -> str:
    """Runs the work three times to warm up, once by the clock, once under torch's profiler."""
    for _ in range(3):
        work()
    wait(device)
    start = time.perf_counter()
    work()
    wait(device)
    wall = time.perf_counter() - start
    kind = DeviceType.CUDA if device.type == 'cuda' else DeviceType.CPU
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == 'cuda' else [])]
    with profile(activities=activities) as profiler:
        work()
        wait(device)
    events = list(profiler.events())
    spent: Counter[str] = Counter()
    for event in events:
        if event.device_type == kind and not event.is_user_annotation:
            spent[event.name] += event.self_device_time_total if kind == DeviceType.CUDA else event.self_cpu_time_total
    calls = Counter(event.name for event in events)
    return _format(title, wall, spent, calls, kind)


def _format(title: str, wall: float, spent: Counter[str], calls: Counter[str], kind: DeviceType) -> str:
    busy = sum(spent.values()) / 1e6
    what = 'kernel' if kind == DeviceType.CUDA else 'operation'
    table = PrettyTable([what, 'ms', 'share', 'calls'], align='r', title=f'profile of {title}')
    table.align[what] = 'l'
    for name, microseconds in spent.most_common(ROWS):
        share = f'{microseconds / 1e6 / busy:.3f}'
        table.add_row([name[:100], f'{microseconds / 1e3:.3f}', share, calls[name]])
    counts = ', '.join(f'{name} {calls[name]}' for name in (*WAITING, *WAITING_OPS))
    return f'{table.get_string()}\n{1e3 * wall:.1f} ms by the clock, {1e3 * busy:.1f} ms of it in {what}s; {counts}'
