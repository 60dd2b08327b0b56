"""Gradients of a step that a checkpoint cuts in two."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor, nn

from cmmasksd.engine.hooks.average_statistics_hook import saves_now
from cmmasksd.registry import HOOKS

ENTRY = 'accumulated_gradients'  # in a checkpoint: dict(done, counts, gradients by the parameter's name)


@HOOKS.register_module()
class AccumulatedGradientsHook(Hook):
    """Keeps what has been accumulated (``optim_wrapper.accumulative_counts``) where a checkpoint is written between two
    steps of the optimiser, and takes it up again at a resume; mmengine would lose these batches.

    An epoch of 7 batches that takes a step on every 2 ends in the middle of one. Several processes, each with gradients
    of its own until the step, go on from their mean, which is what the step would make of them.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Any] | None = None

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Before the checkpoint of this iteration is written, at a lower priority."""
        if get_world_size() > 1 and saves_now(runner):
            self._average(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Before the checkpoint of this epoch is written, at a lower priority."""
        if get_world_size() > 1:
            self._average(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        done, counts = progress(runner.optim_wrapper)
        if done and 'optimizer' in checkpoint:
            gradients = {name: gradient.cpu() for name, gradient in gradients_of(runner.model).items()}
            checkpoint[ENTRY] = dict(done=done, counts=counts, gradients=gradients)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        self._kept = checkpoint.get(ENTRY) if runner._resume else None

    def before_train(self, runner: Runner) -> None:
        """Puts the gradients back, where the resumed run stands at the same place of a step."""
        kept, self._kept = self._kept, None
        if kept is None:
            return
        if progress(runner.optim_wrapper) != (kept['done'], kept['counts']):
            runner.logger.warning(
                f'The checkpoint lies after {kept["done"]} of {kept["counts"]} batches of a step, this run does not '
                '(optim_wrapper.accumulative_counts or the batch size differs): their gradients are left out.'
            )
            return
        for name, parameter in _unwrapped(runner.model).named_parameters():
            if name in kept['gradients']:
                parameter.grad = kept['gradients'][name].to(parameter)
        runner.logger.info(f'Gradients of {kept["done"]} of {kept["counts"]} batches are taken up again: none is lost.')

    @staticmethod
    def _average(runner: Runner) -> None:
        gradients = list(gradients_of(runner.model).values())
        if not progress(runner.optim_wrapper)[0] or not gradients:
            return
        mean = torch.cat([gradient.flatten() for gradient in gradients])
        all_reduce(mean, op='mean')
        for gradient, part in zip(gradients, mean.split([gradient.numel() for gradient in gradients])):
            gradient.copy_(part.view_as(gradient))


def progress(wrapper: Any) -> tuple[int, int]:
    """How many batches of the step at hand are done, and how many it takes; several optimisers accumulate nothing."""
    if not isinstance(wrapper, OptimWrapper) or isinstance(wrapper, OptimWrapperDict):
        return 0, 1
    counts = wrapper._accumulative_counts
    at_the_end = wrapper._inner_count == wrapper._max_counts  # where a step is taken on what there is
    return 0 if at_the_end else wrapper._inner_count % counts, counts


def gradients_of(model: nn.Module) -> dict[str, Tensor]:
    """The gradients at hand, by the parameter's name."""
    named = _unwrapped(model).named_parameters()
    return {name: parameter.grad for name, parameter in named if parameter.grad is not None}


def _unwrapped(model: nn.Module) -> nn.Module:
    return model.module if is_model_wrapper(model) else model  # type: ignore[return-value]
