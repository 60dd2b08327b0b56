"""Whether a run can write what it will write, asked before its first step."""

from __future__ import annotations

import copy
import math
import os
import shutil
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import CheckpointHook, EMAHook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.optim import Optimizer

PROBED = 8  # elements of the parameter that an optimiser is tried on


class WorkDirError(OSError):
    """A folder in which nothing can be written."""


class NotEnoughSpaceError(OSError):
    """A disk on which not even one checkpoint fits."""


def check_work_dir(folder: str | Path) -> None:
    """Makes ``folder`` and writes a file in it, which is gone at once.

    Raises:
        WorkDirError: it cannot be made, or nothing can be written there.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix='.writable') as file:
            file.write(b'\0' * 4096)  # a full disk still makes empty files
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        reason = error.strerror or str(error)
        mend = 'give another one by --work-dir, or mend this one'
        message = f'nothing can be written in the work dir {folder} ({reason}): {mend}'
        raise WorkDirError(error.errno, message) from error


def check_free_space(hook: CheckpointHook, runner: Runner) -> None:
    """Compares what is free in the hook's folder with the checkpoints that the run will keep there at once.

    These are ``max_keep_ckpts`` checkpoints (all that are to come, where it is -1), the best ones, and one more that is
    written before an old one is dropped. Files that an earlier part of the run left there count as written. Warns where
    some will not fit.

    Raises:
        NotEnoughSpaceError: not even the next one fits.
    """
    folder = Path(hook.out_dir)
    weights = weight_bytes(runner.model) * (1 + sum(isinstance(each, EMAHook) for each in runner.hooks))
    one = weights + (state_bytes(runner) if hook.save_optimizer else 0)
    needed = one * (_kept(hook, runner) + 1) + weights * len(hook.key_indicators if hook.save_best else ())
    needed -= min(needed - one, sum(file.stat().st_size for file in folder.glob('*.pth')))
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free >= needed:
        return
    found = f'{folder}: this run writes checkpoints of {needed:,} bytes there ({one:,} each), but {free:,} are free'
    mend = 'make room, give another folder by --work-dir, or keep fewer (default_hooks.checkpoint.max_keep_ckpts)'
    if free < one:
        raise NotEnoughSpaceError(f'{found}, which is not enough for one: {mend}.')
    runner.logger.warning(f'{found}: the run will stop when the disk is full; {mend}.')


def weight_bytes(model: nn.Module) -> int:
    """Bytes of the model's ``state_dict``; where weights are shared out, nothing is gathered for it."""
    model = model.module if is_model_wrapper(model) else model  # type: ignore[assignment]
    return sum(_bytes(tensor) for tensor in model.state_dict(keep_vars=True).values())


def state_bytes(runner: Runner) -> int:
    """Bytes that the state of the run's optimisers has once they have stepped, gradients that accumulate included."""
    wrapper = runner.optim_wrapper
    wrappers = list(wrapper.values()) if isinstance(wrapper, OptimWrapperDict) else [wrapper]
    accumulated = sum(
        _bytes(parameter)
        for each in wrappers
        if each._accumulative_counts > 1
        for group in each.optimizer.param_groups
        for parameter in group['params']
    )
    return accumulated + sum(optimizer_bytes(each.optimizer) for each in wrappers)


def optimizer_bytes(optimizer: Optimizer) -> int:
    """The same for one optimiser, before its first step too; one parameter of each group shows what an element
    costs.
    """
    total = 0
    for group in optimizer.param_groups:
        first = group['params'][0]
        shape, state = (
            (first.shape, optimizer.state[first])
            if first in optimizer.state
            else ((PROBED,), state_after_a_step(optimizer, group))
        )
        tensors = sum(_bytes(value) for value in state.values() if torch.is_tensor(value) and value.shape == shape)
        total += tensors * sum(parameter.numel() for parameter in group['params']) // math.prod(shape)
    return total


def state_after_a_step(optimizer: Optimizer, group: dict[str, Any]) -> dict[str, Any]:
    """What a copy of the optimiser keeps of a small parameter, on which alone it takes a step."""
    like = group['params'][0]
    sample = torch.zeros(PROBED, dtype=like.dtype, device=like.device, requires_grad=True)
    sample.grad = torch.zeros_like(sample)
    probe = copy.copy(optimizer)
    probe.param_groups, probe.state = [{**group, 'params': [sample]}], defaultdict(dict)
    probe.step()
    return probe.state[sample]


def _kept(hook: CheckpointHook, runner: Runner) -> int:
    if hook.max_keep_ckpts > 0:
        return hook.max_keep_ckpts
    left = runner.max_epochs - runner.epoch if hook.by_epoch else runner.max_iters - runner.iter
    return math.ceil(left / hook.interval) if hook.interval > 0 else 1


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
