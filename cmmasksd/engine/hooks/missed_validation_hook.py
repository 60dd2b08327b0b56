"""The validation that a kill prevented."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from cmmasksd.engine.progress import iterations_into_epoch
from cmmasksd.registry import HOOKS

VALIDATED = 'last_validated'  # in the message hub, which checkpoints hold


@HOOKS.register_module()
class MissedValidationHook(Hook):
    """Makes up for a validation that was due when the resumed checkpoint was written and that no checkpoint knows of.

    A checkpoint is written before its epoch is validated. Killed in between, mmengine would go on with the next epoch,
    and the best checkpoint might be missed, the last epoch's above all. A validation that found no better model leaves
    no trace in the file and is repeated, to no effect.
    """

    priority = 'LOWEST'  # after the checkpoint hook knows its folder

    def before_train(self, runner: Runner) -> None:
        if runner._resume and runner.val_loop is not None and self._is_due(runner):
            runner.logger.info('The resumed checkpoint has not been validated, or was not the best: validating it now.')
            runner.val_loop.run()

    def before_val_epoch(self, runner: Runner) -> None:
        runner.message_hub.update_info(VALIDATED, runner.iter)

    @staticmethod
    def _is_due(runner: Runner) -> bool:
        loop = runner.train_loop
        if isinstance(loop, IterBasedTrainLoop):
            done, all_of_them = loop.iter, loop.max_iters
        elif iterations_into_epoch(runner):  # written within an epoch, when the validation before it was through
            return False
        else:
            done, all_of_them = loop.epoch, loop.max_epochs
        if runner.message_hub.runtime_info.get(VALIDATED) == loop.iter or done < max(loop.val_begin, 1):
            return False
        return done % loop.val_interval == 0 or done == all_of_them
