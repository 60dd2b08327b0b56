"""What can be said of a run once its data are read."""

from __future__ import annotations

from mmengine.dist import get_world_size
from mmengine.hooks import CheckpointHook
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from cmmasksd.engine.checks.counting import check_counting
from cmmasksd.engine.checks.schedule import check_floors, check_schedule
from cmmasksd.engine.checks.settings import ConfigError, check_known
from cmmasksd.engine.checks.tokens import check_tokens


def check_run(runner: Runner) -> None:
    """Makes sure that a training has data, that its schedules fit it, that all in it counts alike and that pipelines
    and text encoder read the same tokens.

    Reads the annotations of train and val, if that was not done. Loops that are neither of mmengine's two are left
    alone.

    Raises:
        ConfigError: the first thing that is not so.
    """
    check_tokens(runner.cfg, runner.model)
    loop = runner.train_loop
    check_loader(loop.dataloader, 'train_dataloader')
    if runner.val_loop is not None:
        check_loader(runner.val_loop.dataloader, 'val_dataloader')
        check_best(runner)
    if not isinstance(loop, (EpochBasedTrainLoop, IterBasedTrainLoop)):
        return
    check_counting(runner)
    schedulers = runner.cfg.get('param_scheduler')
    check_schedule(schedulers, loop)
    if isinstance(runner.optim_wrapper, OptimWrapper):
        check_floors(schedulers, runner.optim_wrapper)


def check_best(runner: Runner) -> None:
    """Makes sure that what ``save_best`` follows is a score that the validation gives, where all metrics name theirs.

    Raises:
        ConfigError: it is none of them.
    """
    metrics = getattr(runner.val_loop.evaluator, 'metrics', [])
    if not all(hasattr(metric, 'names') for metric in metrics):
        return
    scores = [f'{metric.prefix}/{name}' if metric.prefix else name for metric in metrics for name in metric.names]
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook) and hook.save_best not in (None, ['auto']):  # mmengine makes a list of it
            check_known(hook.save_best, scores, 'The validation, which default_hooks.checkpoint.save_best follows,')


def check_loader(loader: DataLoader, name: str) -> None:
    """Makes sure that a loader gives at least one batch.

    Raises:
        ConfigError: it gives none; names the sizes.
    """
    if len(loader) > 0:
        return
    items = len(loader.dataset)  # type: ignore[arg-type]  # mmengine's data sets have a length
    if items == 0:
        raise ConfigError(f'{name}.dataset has no items: give another split, or more indices.')
    share = -(-items // get_world_size())
    raise ConfigError(
        f'{name} gives no batch: {items} items are {share} for each of {get_world_size()} processes, fewer than '
        f'batch_size={loader.batch_size}, and drop_last=True leaves an incomplete batch out. Set '
        f'{name}.batch_size={share}, or {name}.drop_last=False.'
    )
