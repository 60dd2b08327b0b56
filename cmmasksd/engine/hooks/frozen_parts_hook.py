"""No gradients for what nothing trains, on several processes too."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import BaseLoop, Runner
from torch.nn.parallel import DistributedDataParallel

from cmmasksd.registry import HOOKS


@HOOKS.register_module()
class FrozenPartsHook(Hook):
    """Wraps a DDP model anew where the optimiser leaves parts of it out, so that no process computes and exchanges
    gradients for them.

    DDP awaits a gradient of each parameter that asks for one when it is made, and mmengine makes it before there is an
    optimiser that says what is frozen. A run on one process, and a model under FSDP, need no more than
    ``ReferringOptimWrapperConstructor`` does.
    """

    def before_run(self, runner: Runner) -> None:
        """Before weights are initialised or loaded."""
        model = runner.model
        is_training = isinstance(runner._train_loop, BaseLoop) and isinstance(runner.optim_wrapper, OptimWrapper)
        if not is_training or not isinstance(model, DistributedDataParallel):
            return
        groups = runner.optim_wrapper.optimizer.param_groups
        trained = {parameter for group in groups for parameter in group['params']}
        idle = [each for each in model.module.parameters() if each.requires_grad and each not in trained]
        if not idle:
            return
        for parameter in idle:
            parameter.requires_grad_(False)
        runner.model = runner.wrap_model(runner.cfg.get('model_wrapper_cfg'), model.module)
