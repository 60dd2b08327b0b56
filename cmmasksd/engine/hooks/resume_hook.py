"""The config holds, also in a resumed run."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from cmmasksd.engine.resuming import LENGTH, LOOP, follow_config
from cmmasksd.registry import HOOKS


@HOOKS.register_module()
class ResumeHook(Hook):
    """Lets a resumed run follow its config where mmengine would follow the checkpoint: ends and lengths of schedules,
    learning rates, the optimiser's settings, the seed, the count of iterations after another batch size. What changes
    is said in the log; see :func:`cmmasksd.engine.resuming.follow_config`.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        if runner._resume:
            follow_config(runner, checkpoint)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Notes how the run counts."""
        checkpoint['meta'].update({LOOP: type(runner.train_loop).__name__, LENGTH: len(runner.train_dataloader)})
