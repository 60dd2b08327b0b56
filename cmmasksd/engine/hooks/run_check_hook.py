"""Whether a run does what it was told, asked before its first step."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import BaseLoop, Runner

from cmmasksd.engine.checks import check_loader, check_run, check_tokens, unfinished_warm_ups
from cmmasksd.registry import HOOKS


@HOOKS.register_module()
class RunCheckHook(Hook):
    """Refuses a run whose parts contradict one another, and sees that the learning rate fits the batch size.

    A step is taken on ``batch_size`` x processes x ``accumulative_counts`` items. Where that is not the
    ``auto_scale_lr.base_batch_size`` that the rate is meant for, it is said, or, with ``auto_scale_lr.enable``, the
    rate is scaled; mmengine's own scaling does not know of accumulation.

    Raises:
        ConfigError: see :func:`cmmasksd.engine.checks.check_run`.
    """

    priority = 'VERY_HIGH'

    def before_run(self, runner: Runner) -> None:
        if not isinstance(runner._train_loop, BaseLoop):  # an evaluation
            return
        counts = accumulative_counts(runner)
        if (runner.auto_scale_lr or {}).get('enable', False) and counts > 1:
            scale_rates(runner, counts)
        check_run(runner)
        for sentence in unfinished_warm_ups(runner.cfg.get('param_scheduler'), runner.train_loop):
            runner.logger.warning(sentence)
        self._warn_of_batch_size(runner, counts)

    def before_test_epoch(self, runner: Runner) -> None:
        check_tokens(runner.cfg, runner.model)
        check_loader(runner.test_dataloader, 'test_dataloader')

    @staticmethod
    def _warn_of_batch_size(runner: Runner, counts: int) -> None:
        scale, batch_size = runner.auto_scale_lr or {}, runner.train_dataloader.batch_size
        if batch_size is None:  # batches of a batch sampler of one's own
            return
        total = batch_size * runner.world_size * counts
        base = scale.get('base_batch_size', total)
        if total != base and not scale.get('enable', False):
            runner.logger.warning(
                f'A step is taken on {total} items ({batch_size} a batch, {runner.world_size} processes, '
                f'optim_wrapper.accumulative_counts={counts}), but the learning rate is meant for {base}: change one '
                'of them, or scale the rate by --auto-scale-lr.'
            )


def accumulative_counts(runner: Runner) -> int:
    """Batches that a step is taken on."""
    wrapper = runner.optim_wrapper
    single = isinstance(wrapper, OptimWrapper) and not isinstance(wrapper, OptimWrapperDict)
    return wrapper._accumulative_counts if single else 1


def scale_rates(runner: Runner, counts: int) -> None:
    """Multiplies every group's rate, which mmengine has scaled for batch size and processes, and builds the schedules
    anew upon them.
    """
    scaled = runner.optim_wrapper.optimizer.param_groups
    for group in runner.optim_wrapper.param_groups:  # one more than the optimiser's: mmengine logs its rate as base_lr
        group['lr'] = group.pop('initial_lr', group['lr']) * (counts if any(group is each for each in scaled) else 1)
    if runner.param_schedulers is not None:
        runner.param_schedulers = runner.build_param_scheduler(runner.cfg.param_scheduler)
    runner.logger.info(f'Learning rates are multiplied by optim_wrapper.accumulative_counts={counts} as well.')
