"""Whether the schedules of a config end where its run ends, and follow one another."""

from __future__ import annotations

import math
from typing import Any

from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

from cmmasksd.engine.checks.settings import ConfigError, check_number
from cmmasksd.engine.checks.spans import Span, kind_of, listed, spans


def check_schedule(schedulers: Any, loop: EpochBasedTrainLoop | IterBasedTrainLoop) -> None:
    """Makes sure that the schedules of a run fill it from its start to its end, one after the other.

    A warm-up may lie over a schedule, and a rate may rest where a warm-up left it. A warm-up counted in
    iterations may be longer than the run (a trial on a few pictures), see :func:`unfinished_warm_ups`.

    Raises:
        ConfigError: a schedule that ends elsewhere than the run, cannot begin, leaves a gap or lies over another one;
            names the options that mend it.
    """
    for _, option, config in listed(schedulers):
        if not config.get('by_epoch', True) and config.get('convert_to_iter_based', False):
            raise ConfigError(
                f'{option} counts in iterations (by_epoch=False) and is to be converted to them '
                f'(convert_to_iter_based=True): set {option}.convert_to_iter_based=False.'
            )
    for line in spans(schedulers, loop):
        for span in line:
            _check_span(span, line, loop)
        _check_joints(line, loop)


def unfinished_warm_ups(schedulers: Any, loop: EpochBasedTrainLoop | IterBasedTrainLoop) -> list[str]:
    """A sentence for each warm-up that the run ends in."""
    return [
        f'The warm-up {span.option} takes {span.end} iterations, but the run has {loop.max_iters}: it never reaches '
        f'the full rate. For a short run set {span.option}.end={max(2, loop.max_iters // 10)}.'
        for line in spans(schedulers, loop)
        for span in line
        if span.is_warm_up and span.end > loop.max_iters
    ]


def options_of_iterations(schedulers: Any, loop: IterBasedTrainLoop) -> list[str]:
    """The options that make schedulers count as an iteration-based loop does, where one that counts epochs would never
    act; empty where all do.
    """
    options = []
    for line in spans(schedulers, loop):
        joint = 0
        for span in line:
            if not span.by_epoch:
                continue
            options += [f'{span.option}.by_epoch=False', f'{span.option}.convert_to_iter_based=False']
            if span.begin > 0:
                options.append(f'{span.option}.begin={joint}')
            if span.config.get('end') is not None:
                joint = min(span.end, max(2, loop.max_iters // 10)) if span is not line[-1] else loop.max_iters
                options.append(f'{span.option}.end={joint}')
    return options


def check_floors(schedulers: Any, optim_wrapper: OptimWrapper) -> None:
    """Makes sure that no group's rate is below the one that a schedule is to bring it down to.

    Raises:
        ConfigError: ``eta_min`` is above a group's rate, which would rise.
    """
    for _, option, config in listed(schedulers):
        if config.get('eta_min') is None:
            continue
        check_number(config['eta_min'], f'{option}.eta_min', at_least=0)
        lowest = min(group.get('initial_lr', group['lr']) for group in optim_wrapper.optimizer.param_groups)
        if kind_of(config).endswith('LR') and config['eta_min'] > lowest:
            raise ConfigError(
                f'{option}.eta_min={config["eta_min"]:g} is above the learning rate {lowest:g} of a group of '
                'parameters, which would rise instead of falling: lower it, or give eta_min_ratio, a share of each '
                'rate, in its place.'
            )


def _check_span(span: Span, line: list[Span], loop: EpochBasedTrainLoop | IterBasedTrainLoop) -> None:
    """One scheduler by itself."""
    config, end = span.config, loop.max_iters
    if span.begin < 0 or span.end <= span.begin or (span.end > end and not _is_trial(span)):
        limits = f'begins at {span.says(span.begin)} and ends at {span.says(span.end)}'
        raise ConfigError(
            f'{span.option} ({span.kind}) {limits}, but the run ends at {_end(loop)}: {_fit(line, loop)}.'
        )
    if span.is_warm_up and config.get('factor') != 1 and (_steps(span) < 2 or config.get('start_factor') == 0):
        raise ConfigError(
            f'{span.option} ({span.kind}) has {_steps(span)} steps and begins at start_factor='
            f'{config.get("start_factor", config.get("factor"))}: it would never reach the full rate. Give it a factor '
            f'above 0 and at least 2 steps (end, begin, or convert_to_iter_based=True).'
        )
    for name in ('T_max', 'total_steps'):
        if config.get(name) is not None and config[name] * span.unit != span.end - span.begin:
            raise ConfigError(
                f'{span.option}.{name}={config[name]} is another length than from its begin to its end '
                f'({(span.end - span.begin) / span.unit:g}): leave {name} out, it follows them.'
            )
    late = [each for each in config.get('milestones') or () if each * span.unit >= end]
    if late:
        raise ConfigError(
            f'{span.option}.milestones={config["milestones"]} go beyond the run, which ends at {_end(loop)}: set '
            f'{span.option}.milestones.'
        )


def _check_joints(line: list[Span], loop: EpochBasedTrainLoop | IterBasedTrainLoop) -> None:
    """Schedulers of one number beside one another."""
    covered, last = 0, None
    for span in line:
        if span.begin > covered:
            raise ConfigError(
                f'Nothing schedules the run from {span.says(covered)} to {span.says(span.begin)}, where {span.option} '
                f'({span.kind}) begins: set {span.option}.begin={covered / span.unit:g}; or, if the rate is to rest '
                f"there, add dict(type='ConstantLR', factor=1.0, begin={covered}, end={span.begin}, by_epoch=False)."
            )
        if last is not None and span.begin < covered and not _may_overlap(last, span):
            raise ConfigError(
                f'{span.option} ({span.kind}) begins at {span.says(span.begin)}, before {last.option} ({last.kind}) '
                f'ends at {span.says(covered)}: set {span.option}.begin={covered / span.unit:g}.'
            )
        if span.end > covered:
            covered, last = span.end, span
    _check_last(line, loop)


def _check_last(line: list[Span], loop: EpochBasedTrainLoop | IterBasedTrainLoop) -> None:
    """What comes after warm-ups goes on to the end of the run, or rests from its own end on; mmengine lets a cosine
    that has ended begin to rise.
    """
    schedules = [span for span in line if not span.is_warm_up]
    if not schedules:
        return
    last = max(schedules, key=lambda span: span.end)
    rests = any(span.is_warm_up and span.begin >= last.end and span.end >= loop.max_iters for span in line)
    if last.end < loop.max_iters and not rests:
        raise ConfigError(
            f'{last.option} ({last.kind}) ends at {last.says(last.end)}, but the run at {_end(loop)}: set '
            f'{last.option}.end={loop.max_iters / last.unit:g}, or to None, which is the end of the run; or, if the '
            f"rate is to rest there, add dict(type='ConstantLR', factor=1.0, begin={last.end}, by_epoch=False)."
        )


def _may_overlap(one: Span, other: Span) -> bool:
    return (one.is_warm_up or other.is_warm_up) and one.changes_what_it_finds and other.changes_what_it_finds


def _is_trial(span: Span) -> bool:
    return span.is_warm_up and not span.by_epoch


def _steps(span: Span) -> int:
    """How often it acts; a scheduler that is not converted acts once an epoch."""
    by_step = 1 if span.config.get('convert_to_iter_based', False) else span.unit
    return (span.end - span.begin) // by_step


def _end(loop: EpochBasedTrainLoop | IterBasedTrainLoop) -> str:
    if isinstance(loop, IterBasedTrainLoop):
        return f'iteration {loop.max_iters} (train_cfg.max_iters)'
    return f'epoch {loop.max_epochs} (train_cfg.max_epochs={loop.max_epochs}, {loop.max_iters} iterations)'


def _fit(line: list[Span], loop: EpochBasedTrainLoop | IterBasedTrainLoop) -> str:
    """The options that make a line of schedulers fit: a warm-up of a tenth of the run, as the paper's, and the rest."""
    first, last = line[0], line[-1]
    run = loop.max_iters / last.unit
    if len(line) == 1:
        return f'set {last.option}.begin=0 {last.option}.end={run:g}, or leave both out'
    if len(line) > 2 or not first.is_warm_up or first.unit != last.unit:
        return 'set begin and end of each scheduler'
    fewest = 2 / last.unit if last.config.get('convert_to_iter_based', False) else 2
    warm_up = max(fewest, run / 10)
    warm_up = int(warm_up) if warm_up >= 1 else math.ceil(100 * warm_up) / 100
    options = [f'{first.option}.end={warm_up:g}', f'{last.option}.begin={warm_up:g}']
    if last.config.get('end') is not None:
        options.append(f'{last.option}.end={run:g}')
    return f'give them what fits, such as --cfg-options {" ".join(options)}'
