"""Distillation from a teacher that has learnt something."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from cmmasksd.registry import HOOKS


@HOOKS.register_module()
class LateDistillationHook(Hook):
    """Lets the distillation branches rest until training has come some way.

    The paper's towers know images and words from the start. Where they are trained from nothing, a teacher of the first
    steps has nothing to teach, and a step without the branches takes less than half of the time.

    Args:
        begin: share of all iterations after which the branches take part, in [0, 1); a run that is resumed follows it.

    Raises:
        ValueError: a share outside [0, 1).
    """

    def __init__(self, begin: float) -> None:
        if not 0 <= begin < 1:
            raise ValueError(f'begin is a share of all iterations in [0, 1), got {begin}.')
        self.begin = begin

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Says whether the coming step distils."""
        model: Any = runner.model.module if is_model_wrapper(runner.model) else runner.model
        model.distilling = runner.iter >= self.begin * runner.max_iters
