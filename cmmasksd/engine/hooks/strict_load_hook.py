"""The weights of this model, or none."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop, Runner

from cmmasksd.checkpoints import check_weights
from cmmasksd.registry import HOOKS


@HOOKS.register_module()
class StrictLoadHook(Hook):
    """Refuses to evaluate or resume with the checkpoint of another model; a training run's ``load_from`` may load a
    part.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        if not isinstance(runner._train_loop, BaseLoop) or runner._resume:
            model = runner.model.module if is_model_wrapper(runner.model) else runner.model
            check_weights(model, checkpoint.get('state_dict', checkpoint), 'The checkpoint')
