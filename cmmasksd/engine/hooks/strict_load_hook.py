"""The weights of this model, or none."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import BaseLoop, Runner

from cmmasksd.checkpoints import load_into, load_weights
from cmmasksd.engine.checkpoints.fitting import check_part, check_resumable
from cmmasksd.registry import HOOKS


@HOOKS.register_module()
class StrictLoadHook(Hook):
    """Refuses the checkpoint of another model, of which mmengine would load what fits and leave the rest random.

    To evaluate, a checkpoint must hold all of the model but its distillation branches; to resume, these and the state
    of the run too. A training's ``load_from`` may hold a part, but no weight of another shape.

    Raises:
        CheckpointError: it does not; the message names the file and the first weight.
    """

    priority = 'ABOVE_NORMAL'  # before other hooks change what was read

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Loads the weights, too, as mmengine will once more: where that fails it would only print the error."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        model = model.module if isinstance(model, BaseTTAModel) else model
        source = str(runner._load_from or 'The checkpoint')
        is_training = isinstance(runner._train_loop, BaseLoop)
        if is_training and not runner._resume:
            state = checkpoint.get('state_dict', checkpoint)
            check_part(model, state, source)
            load_into(model, state, source)
            return
        if is_training:
            check_resumable(model, checkpoint, bool(runner.param_schedulers), source)
        load_weights(model, checkpoint, source)
