"""What can be said of a config before anything is built of it."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from torch.utils.data import DataLoader

from cmmasksd.engine.checks.processes import check_processes
from cmmasksd.engine.checks.settings import ConfigError, check_known, check_number, check_whole
from cmmasksd.registry import LOOPS

OF_MMENGINE = ('disable_subprocess_warning', 'num_batch_per_epoch')  # a loader's settings that torch does not know
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def check_config(cfg: Config) -> None:
    """Makes sure that a run's loaders, loop, intervals and model wrapper can be what they are set to.

    Raises:
        ConfigError: the first setting that cannot.
    """
    for name in LOADERS:
        if isinstance(cfg.get(name), Mapping):
            check_dataloader(cfg[name], name)
    if not isinstance(cfg.get('resume', False), bool):
        raise ConfigError(
            f'resume={cfg.resume!r}: write True or False. To resume from a file give tools/train.py --resume PATH, or '
            'set load_from=PATH and resume=True.'
        )
    if isinstance(cfg.get('train_cfg'), Mapping):
        check_train_loop(cfg.train_cfg)
    if cfg.get('auto_scale_lr'):
        check_known(cfg.auto_scale_lr, ('base_batch_size', 'enable'), 'auto_scale_lr')
        check_whole(cfg.auto_scale_lr.get('base_batch_size'), 'auto_scale_lr.base_batch_size', at_least=1)
    _check_intervals(cfg.get('default_hooks') or {})
    check_processes(cfg)


def check_dataloader(loader: Mapping[str, Any], name: str) -> None:
    """The keys and numbers of one loader's config."""
    check_known(loader, {*inspect.signature(DataLoader).parameters, *OF_MMENGINE}, name)
    if loader.get('batch_sampler') is None:
        check_whole(loader.get('batch_size'), f'{name}.batch_size', at_least=1)
    check_whole(loader.get('num_workers', 0), f'{name}.num_workers', at_least=0)
    if loader.get('prefetch_factor') is not None:
        check_whole(loader['prefetch_factor'], f'{name}.prefetch_factor', at_least=1)
    check_number(loader.get('timeout', 0), f'{name}.timeout', at_least=0)


def check_train_loop(train_cfg: Mapping[str, Any]) -> None:
    """The loop's settings, which are not the same for epochs and for iterations."""
    if 'type' in train_cfg and 'by_epoch' in train_cfg:
        raise ConfigError(
            f'train_cfg has both type={train_cfg["type"]!r} and by_epoch={train_cfg["by_epoch"]}: leave by_epoch out, '
            "and for a run counted in iterations write train_cfg.type='IterBasedTrainLoop'."
        )
    if 'type' in train_cfg:
        loop = LOOPS.get(train_cfg['type']) if isinstance(train_cfg['type'], str) else train_cfg['type']
    else:
        loop = EpochBasedTrainLoop if train_cfg.get('by_epoch', True) else IterBasedTrainLoop
    if loop not in (EpochBasedTrainLoop, IterBasedTrainLoop):
        return
    end = 'max_epochs' if loop is EpochBasedTrainLoop else 'max_iters'
    known = set(inspect.signature(loop).parameters) - {'runner', 'dataloader'}
    other = {'max_epochs', 'max_iters'} - {end} & train_cfg.keys()
    check_known(
        train_cfg.keys() - {'type', 'by_epoch'},
        known,
        f'train_cfg of {loop.__name__}',
        mend=f'write train_cfg._delete_=True beside train_cfg.type={loop.__name__}, train_cfg.{end} and '
        'train_cfg.val_interval, so that nothing of the old train_cfg stays'
        if other
        else '',
    )
    check_whole(train_cfg.get(end), f'train_cfg.{end}', at_least=1)
    check_whole(train_cfg.get('val_interval', 1), 'train_cfg.val_interval', at_least=1)
    check_whole(train_cfg.get('val_begin', 1), 'train_cfg.val_begin', at_least=0)
    if train_cfg.get('val_begin', 1) > train_cfg[end]:
        raise ConfigError(
            f'train_cfg.val_begin={train_cfg["val_begin"]} lies beyond the end of the run '
            f'(train_cfg.{end}={train_cfg[end]}), which would never be validated: lower it.'
        )


def _check_intervals(hooks: Mapping[str, Any]) -> None:
    """Hooks that are none, and hooks that would never act."""
    for name, hook in hooks.items():
        if isinstance(hook, Mapping) and 'type' not in hook:
            nearest = difflib.get_close_matches(name, [other for other in hooks if other != name], n=1)
            meant = f'do you mean default_hooks.{nearest[0]}?' if nearest else 'give it one, or leave it out.'
            raise ConfigError(f'default_hooks.{name} has no type: {meant}')
    for name in ('logger', 'checkpoint'):
        interval = (hooks.get(name) or {}).get('interval', 1)
        if name == 'checkpoint' and interval == -1:  # mmengine's way to write the last one only
            continue
        check_whole(interval, f'default_hooks.{name}.interval', at_least=1)
