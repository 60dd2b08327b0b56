"""CLIP's weights, read where they are needed."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner, find_latest_checkpoint

from cmmasksd.registry import HOOKS


@HOOKS.register_module()
class CheckpointFirstHook(Hook):
    """Skips reading CLIP's weights when a checkpoint is about to be loaded or resumed; mmengine would read both."""

    def before_run(self, runner: Runner) -> None:
        if runner._load_from is None and not (runner._resume and find_latest_checkpoint(runner.work_dir)):
            return
        for module in runner.model.modules():
            if getattr(module, 'pretrained', None) is not None:
                module.pretrained = None
