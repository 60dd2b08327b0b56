"""One model for all processes before it is scored or saved."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import CheckpointHook, EMAHook, Hook
from mmengine.runner import Runner
from torch.nn.modules.batchnorm import _BatchNorm

from cmmasksd.registry import HOOKS


@HOOKS.register_module()
class AverageStatisticsHook(Hook):
    """Gives every process the mean of all processes' running statistics, after each training epoch, before each
    validation and before a checkpoint is written within an epoch.

    On CPUs the batch norms of several processes see different pictures. mmengine's ``SyncBuffersHook`` adds in float32,
    where from six processes on the mean of equal numbers is not always that number, so that a resumed run, which
    averages once more, would drift by a bit; in float64 it is.
    """

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Before the checkpoint of this iteration is written, at a lower priority: it holds one process's statistics,
        with which a resumed run gives all of them the same.
        """
        if saves_now(runner):
            self._average(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Before the checkpoint of this epoch is written, which happens at a lower priority."""
        self._average(runner)

    def before_val_epoch(self, runner: Runner) -> None:
        """For iteration-based loops, which validate in the middle of an epoch."""
        self._average(runner)

    @staticmethod
    def _average(runner: Runner) -> None:
        averaged = [hook.ema_model for hook in runner.hooks if isinstance(hook, EMAHook)]  # have buffers of their own
        layers = (layer for model in (runner.model, *averaged) for layer in model.modules())
        norms = (layer for layer in layers if isinstance(layer, _BatchNorm))
        buffers = [buffer for norm in norms for buffer in norm.buffers(recurse=False) if buffer.is_floating_point()]
        if get_world_size() == 1 or not buffers:
            return
        means = torch.cat([buffer.flatten().double() for buffer in buffers])
        all_reduce(means, op='mean')
        for buffer, mean in zip(buffers, means.split([buffer.numel() for buffer in buffers])):
            buffer.copy_(mean.view_as(buffer))


def saves_now(runner: Runner) -> bool:
    """Whether a checkpoint hook counts iterations and this is one of those after which it saves."""
    return any(
        hook.every_n_train_iters(runner, hook.interval, hook.save_begin)
        or (hook.save_last and hook.is_last_train_iter(runner))
        for hook in runner.hooks
        if isinstance(hook, CheckpointHook) and not hook.by_epoch
    )
