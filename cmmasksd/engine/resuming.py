"""A resumed run goes on by its config: what a checkpoint holds beside weights and moments is replaced by it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.optim import OptimWrapperDict, _ParamScheduler
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch.optim import Optimizer

from cmmasksd.engine.checkpoints.disk_space import state_after_a_step
from cmmasksd.engine.checks import ConfigError
from cmmasksd.engine.progress import EPOCH_START

LOOP, LENGTH = 'train_loop', 'epoch_length'  # in a checkpoint's meta: the loop's kind, and iterations of an epoch
ANEW = 'or begin a new run with its weights (load_from, without resume)'


def follow_config(runner: Runner, checkpoint: dict[str, Any]) -> None:
    """Makes a checkpoint that is about to be resumed one of this config, in place, and says in the log what differed.

    Learning rates become those of a run that had the config's schedules from its start, at the same place: schedules
    are played again up to there. The optimiser's settings (weight decay, betas ...) and the seed are the config's too;
    its moments, the weights and the record of metrics are the checkpoint's. With the config that it was written by
    nothing changes, to the last bit.

    Raises:
        ConfigError: the run cannot go on by this config, and why.
    """
    loop, meta = runner.train_loop, checkpoint['meta']
    if not isinstance(loop, (EpochBasedTrainLoop, IterBasedTrainLoop)):
        return
    if meta.get(LOOP, type(loop).__name__) != type(loop).__name__:
        raise ConfigError(
            f'The checkpoint is of a run by {meta[LOOP]}, but train_cfg.type is {type(loop).__name__}: epochs and '
            f'iterations cannot be told from one another. Resume with the old train_cfg, {ANEW}.'
        )
    find_place(runner, checkpoint)
    keep_seed(runner, meta)
    if isinstance(runner.optim_wrapper, OptimWrapperDict) or runner.optim_wrapper is None:
        return
    check_moments(runner.optim_wrapper.optimizer, checkpoint['optimizer'])
    if any(getattr(scheduler, 'need_val_args', False) for scheduler in schedulers_of(runner)):
        runner.logger.warning('A schedule that follows a metric cannot be played again: all go on as they were saved.')
        return
    checkpoint.pop('param_schedulers', None)  # mmengine would load their ends too
    replay(runner, meta['iter'])
    take_settings(runner, checkpoint['optimizer'])


def find_place(runner: Runner, checkpoint: dict[str, Any]) -> None:
    """Counts a checkpoint's iterations as this run does, whose epochs may have more or fewer of them: epoch, and share
    of it, stay.

    Raises:
        ConfigError: the place lies beyond the end of the run.
    """
    loop, meta = runner.train_loop, checkpoint['meta']
    if isinstance(loop, IterBasedTrainLoop):
        _check_end(runner, 'iteration', meta['iter'], 'train_cfg.max_iters', loop.max_iters)
        return
    _check_end(runner, 'epoch', meta['epoch'], 'train_cfg.max_epochs', loop.max_epochs)
    epoch, length, hub = meta['epoch'], len(loop.dataloader), checkpoint['message_hub']['runtime_info']
    begun, first = hub.get(EPOCH_START, (None, 0))
    done = meta['iter'] - first if begun == epoch else 0
    before = meta.get(LENGTH) or ((meta['iter'] - done) / epoch if epoch else length)
    place = epoch * length + min(round(done * length / before), length)
    if place != meta['iter']:
        runner.logger.warning(
            f'An epoch has {length} iterations, but had {before:g} when the checkpoint was written: iteration '
            f'{meta["iter"]} is now counted as {place}, epoch {place / length:g} of {loop.max_epochs} as before.'
        )
    if done:
        hub[EPOCH_START] = (epoch, epoch * length)
    meta['iter'] = place


def _check_end(runner: Runner, what: str, place: int, setting: str, end: int) -> None:
    if place > end:
        raise ConfigError(
            f'The checkpoint stands at {what} {place}, but the run ends at {end}: raise {setting}, {ANEW}.'
        )
    if place == end:
        runner.logger.warning(
            f'The checkpoint stands at the end of the run, {what} {end}: to train on, raise {setting}.'
        )


def keep_seed(runner: Runner, meta: dict[str, Any]) -> None:
    """A seed that the config gives holds, where mmengine would take the checkpoint's."""
    own, stored = runner._randomness_cfg.get('seed'), meta.get('seed')
    if own is not None and stored is not None and own != stored:
        runner.logger.warning(
            f'randomness.seed={own} holds from here on; the checkpoint was trained with {stored}: give that to go on '
            'as the interrupted run would have.'
        )
        meta['seed'] = own


def check_moments(optimizer: Optimizer, stored: Mapping[str, Any]) -> None:
    """Makes sure that what a checkpoint holds of an optimiser is of one like this, for the same parameters.

    Raises:
        ConfigError: it is not.
    """
    own = [len(group['params']) for group in optimizer.param_groups]
    theirs = [len(group['params']) for group in stored['param_groups']]
    parameters = [parameter for group in optimizer.param_groups for parameter in group['params']]
    if own != theirs or any(
        torch.is_tensor(value) and value.shape not in (parameters[place].shape, torch.Size([]))
        for place, state in stored['state'].items()
        for value in state.values()
    ):
        raise ConfigError(
            f"The checkpoint's optimiser has groups of {theirs} parameters, the config's of {own}, or they lie in "
            'another order: resume with the optim_wrapper.paramwise_cfg and the frozen parts that the run began with, '
            f'{ANEW}.'
        )
    needed = state_after_a_step(optimizer, optimizer.param_groups[0])
    for state in stored['state'].values():
        missing = [name for name, value in needed.items() if value is not None and name not in state]
        if missing:
            raise ConfigError(
                f"The checkpoint's optimiser kept {', '.join(state) or 'nothing'}, but {type(optimizer).__name__} "
                f'needs {", ".join(missing)}: resume with the optim_wrapper.optimizer that the run began with, {ANEW}.'
            )


def replay(runner: Runner, iterations: int) -> None:
    """Plays a run's fresh schedules up to an iteration, step by step as ``ParamSchedulerHook`` does, so that rates are
    equal to the last bit. An iteration took 12 microseconds with two schedules and two groups of parameters, 130 with
    fifty groups.
    """
    schedulers, length = schedulers_of(runner), len(runner.train_dataloader)
    has_epochs = isinstance(runner.train_loop, EpochBasedTrainLoop)
    by_iteration = [scheduler for scheduler in schedulers if not scheduler.by_epoch]
    by_epoch = [scheduler for scheduler in schedulers if scheduler.by_epoch]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', UserWarning)  # that no step of the optimiser came between
        for iteration in range(1, iterations + 1):
            for scheduler in by_iteration:
                scheduler.step()
            if has_epochs and iteration % length == 0:
                for scheduler in by_epoch:
                    scheduler.step()


def schedulers_of(runner: Runner) -> list[_ParamScheduler]:
    """The built schedulers, of one optimiser or of several."""
    found = runner.param_schedulers or []
    return [each for part in found.values() for each in part] if isinstance(found, dict) else list(found)


def take_settings(runner: Runner, stored: dict[str, Any]) -> None:
    """Replaces an optimiser's stored settings, rates among them, by those at hand."""
    own = runner.optim_wrapper.state_dict()
    for place, (ours, theirs) in enumerate(zip(own['param_groups'], stored['param_groups'])):
        changed = [
            f'{name} {_brief(theirs.get(name))} -> {_brief(value)}'
            for name, value in ours.items()
            if name != 'params' and theirs.get(name) != value
        ]
        if changed:
            runner.logger.warning(
                f"The config's settings replace the checkpoint's in group {place}: {', '.join(changed)}."
            )
    for part in ('param_groups', 'base_param_settings'):
        stored.pop(part, None)
        if part in own:
            stored[part] = own[part]


def _brief(value: Any) -> str:
    return f'{value:.5g}' if isinstance(value, float) else str(value)
