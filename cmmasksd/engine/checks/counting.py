"""What counts epochs in a run that counts iterations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from cmmasksd.engine.checks.schedule import options_of_iterations
from cmmasksd.engine.checks.settings import ConfigError


def check_counting(runner: Runner) -> None:
    """Makes sure that an iteration-based run has nothing that counts epochs: to mmengine the whole of it is one epoch.

    Raises:
        ConfigError: a scheduler would never act, a hook once, at the end, or validations be logged at step 0; names the
            options that make all of them count iterations.
    """
    loop = runner.train_loop
    if not isinstance(loop, IterBasedTrainLoop):
        return
    options = options_of_iterations(runner.cfg.get('param_scheduler'), loop)
    if runner.log_processor.by_epoch:
        options.append('log_processor.by_epoch=False')
    for option, hook in _hooks(runner):
        if getattr(hook, 'by_epoch', False):
            options += [f'{option}.by_epoch=False', f'{option}.interval={loop.val_interval}']
        if getattr(hook, 'log_metric_by_epoch', False):
            options.append(f'{option}.log_metric_by_epoch=False')
        if isinstance(hook, EMAHook) and hook.enabled_by_epoch:
            options += [f'{option}.begin_epoch=0', f'{option}.begin_iter={hook.begin_epoch * len(loop.dataloader)}']
    if options:
        raise ConfigError(
            'The run counts iterations (IterBasedTrainLoop), but parts of it count epochs, which there are none of: '
            f'they would act once, at the end, or never. Add --cfg-options {" ".join(options)}'
        )


def _hooks(runner: Runner) -> Iterator[tuple[str, Hook]]:
    """Every hook, with the place of its config where it has one."""
    for hook in runner.hooks:
        yield _place(runner.cfg, type(hook)), hook


def _place(cfg: Config, hook: type[Hook]) -> str:
    custom = enumerate(cfg.get('custom_hooks') or [])
    named = [*(cfg.get('default_hooks') or {}).items(), *custom]
    for name, config in named:
        if isinstance(config, Mapping) and _name(config.get('type')) == hook.__name__:
            return f'{"custom_hooks" if isinstance(name, int) else "default_hooks"}.{name}'
    return hook.__name__


def _name(kind: Any) -> str:
    return kind.rpartition('.')[2] if isinstance(kind, str) else getattr(kind, '__name__', '')
