"""Checkpoints of a model that no process holds whole."""

from __future__ import annotations

from functools import partial
from typing import Any

from mmengine.dist import is_main_process
from mmengine.runner import Runner

from cmmasksd.engine.sharding.whole import is_shared_out


def save_together(runner: Runner) -> None:
    """Lets all processes take part in ``runner.save_checkpoint``, which mmengine runs on the first one alone: it
    gathers each tensor, and would wait for the others for ever.
    """
    runner.save_checkpoint = partial(_save, runner, runner.save_checkpoint)


def _save(runner: Runner, save: Any, *args: Any, save_optimizer: bool = True, **options: Any) -> None:
    if is_main_process():
        save(*args, save_optimizer=save_optimizer, **options)
        return
    tensors = list(runner.model.module.state_dict(keep_vars=True).values())
    if save_optimizer:
        tensors += [value for state in runner.optim_wrapper.optimizer.state.values() for value in state.values()]
    for tensor in tensors:  # in the order in which the first process asks for them
        if is_shared_out(tensor):
            tensor.detach().full_tensor()
