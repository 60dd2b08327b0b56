"""CLIP's weights, read where they are needed."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop, Runner, find_latest_checkpoint
from torch import nn

from cmmasksd.engine.checkpoints.fitting import fill_up, holds_all
from cmmasksd.registry import HOOKS


@HOOKS.register_module()
class CheckpointFirstHook(Hook):
    """Reads CLIP's weights only where the checkpoint that is loaded or resumed has not all of a tower; mmengine would
    read both.

    CLIP is loaded first, then the file. What a training's ``load_from`` lacks stays as it was initialised, and that is
    said in one line of the log, as is a resume that finds no checkpoint.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[Any, str]] = {}  # of each tower, by the prefix of its names

    def before_run(self, runner: Runner) -> None:
        """Keeps the towers from reading CLIP, for now, where a checkpoint will be loaded."""
        if runner._load_from is None and not (runner._resume and find_latest_checkpoint(runner.work_dir)):
            if runner._resume:
                runner.logger.warning(f'Nothing to resume in {runner.work_dir}: this run starts from its beginning.')
            return
        for name, module in _unwrapped(runner).named_modules():
            if getattr(module, 'pretrained', None) is not None:
                self._waiting[f'{name}.' if name else ''] = module, module.pretrained
                module.pretrained = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Makes up for CLIP where it is needed; mmengine loads the checkpoint after this."""
        state = checkpoint.get('state_dict', checkpoint)
        for prefix, (tower, pretrained) in self._waiting.items():
            tower.pretrained = pretrained
            if not holds_all(state, tower, prefix):
                tower.is_init = False
                tower.init_weights()
        self._waiting.clear()
        if isinstance(runner._train_loop, BaseLoop) and not runner._resume:
            runner.logger.info(f'{runner._load_from or "The checkpoint"}: {fill_up(_unwrapped(runner), state)}.')


def _unwrapped(runner: Runner) -> nn.Module:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
