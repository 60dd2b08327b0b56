"""``--cfg-options KEY=VALUE``: overrides of a config, read with an eye on what the config holds there.

mmengine's ``DictAction`` splits every value at its commas and drops its blanks, before anyone knows whether it is a
list: a folder ``/data/a,b`` becomes two names. Here values wait as text until the config is there.
"""

from __future__ import annotations

import difflib
import inspect
import re
from argparse import Action, ArgumentError, ArgumentParser, Namespace
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config, DictAction

_PATH = re.compile(r'[/\\]|\.[A-Za-z]\w*$')  # a folder in it, or a file's ending
_BRACKETS = ('[', '(')
# where people look for what stands elsewhere
_PLACES = {
    'optimizer': 'optim_wrapper.optimizer',
    'lr': 'optim_wrapper.optimizer.lr',
    'weight_decay': 'optim_wrapper.optimizer.weight_decay',
    'paramwise_cfg': 'optim_wrapper.paramwise_cfg',
    'custom_keys': 'optim_wrapper.paramwise_cfg.custom_keys',
    'head_lr_mult': 'optim_wrapper.paramwise_cfg.head_lr_mult',
    'accumulative_counts': 'optim_wrapper.accumulative_counts',
    'clip_grad': 'optim_wrapper.clip_grad',
    'max_epochs': 'train_cfg.max_epochs',
    'max_iters': 'train_cfg.max_iters',
    'val_interval': 'train_cfg.val_interval',
    'batch_size': 'train_dataloader.batch_size',
    'num_workers': 'train_dataloader.num_workers',
    'seed': 'randomness.seed',
    'threshold': 'model.threshold',
    'splits': 'test_cfg.splits',
}
# read from the config, and not by the Runner's constructor
_ALSO_READ = (
    'activation_checkpointing',
    'auto_scale_lr',
    'compile',
    'custom_imports',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'sync_bn',
    'tta_model',
    'tta_pipeline',
)
_QUOTED = re.compile(r"""(['"])(.*)\1""", re.DOTALL)


class CfgOptions(Action):
    """argparse's action for ``--cfg-options``: a dict of the values as text, for :func:`merge_options`."""

    def __call__(
        self, parser: ArgumentParser, namespace: Namespace, values: Any, option_string: str | None = None
    ) -> None:
        """Adds the given ``KEY=VALUE`` to those before; the last one of a key counts."""
        options = dict(getattr(namespace, self.dest, None) or {})
        for given in values:
            key, equals, text = given.partition('=')
            if not equals or not key.strip('. '):
                raise ArgumentError(self, f'{given!r} is no KEY=VALUE; leave no blank around =, and quote blanks in it')
            options[key.strip()] = text
        setattr(namespace, self.dest, options)


def merge_options(cfg: Config, options: Mapping[str, str] | None) -> None:
    """Writes overrides into a config.

    ``KEY=a,b`` and ``KEY=[a,b]`` are lists, ``KEY=(a,b)`` is a tuple, numbers, ``True``, ``False`` and ``None`` are
    what they say. A value with commas is text where it reads like a path or replaces one; ``KEY="'a,b'"`` is text
    anywhere.

    Args:
        cfg: changed in place.
        options: values by dotted keys, as text; parts that are numbers point into lists. None: nothing is changed.

    Raises:
        ValueError: a key that the config cannot hold, or a value whose meaning is not plain; names the option.
    """
    merged = {key: _parse(key, text, _present(cfg, key)) for key, text in (options or {}).items()}
    cfg.merge_from_dict(merged)


def _present(cfg: Config, key: str) -> Any:
    """What the config holds at a dotted key; None where it holds nothing yet."""
    parts = key.split('.')
    similar = difflib.get_close_matches(parts[0], list(cfg.keys()), n=1, cutoff=0.85)
    if parts[0] not in cfg and similar:
        raise ValueError(f'--cfg-options {key}: the config has no {parts[0]!r}; do you mean {similar[0]!r}?')
    if parts[0] not in cfg and not _is_read(parts[0]):
        place = _PLACES.get(parts[0])
        meant = f'do you mean {".".join([place, *parts[1:]])!r}?' if place else 'print_config.py shows what it has.'
        raise ValueError(f'--cfg-options {key}: the config has no {parts[0]!r}, and nothing would read it; {meant}')
    value: Any = cfg
    for depth, part in enumerate(parts):
        place = '.'.join(parts[:depth])
        if isinstance(value, (list, tuple)):
            if not part.isdigit() or int(part) >= len(value):
                raise ValueError(
                    f'--cfg-options {key}: {place} is a list of {len(value)}: give a number below that for {part!r}, '
                    f'or the whole list, {place}=[...]'
                )
            value = value[int(part)]
        elif isinstance(value, (Config, Mapping)):
            if part not in value:
                return None
            value = value[part]
        else:
            raise ValueError(
                f'--cfg-options {key}: {place} is {value!r:.40} in the config and has nothing in it; '
                f'set {place} itself, or write the dict into a config of your own'
            )
    return value


def _is_read(key: str) -> bool:
    """Whether mmengine's Runner reads a setting of the config's top level."""
    from mmengine.runner import Runner  # slow to import, and needed for settings alone that a config lacks

    return key in inspect.signature(Runner.__init__).parameters or key in _ALSO_READ


def _parse(key: str, text: str, present: Any) -> Any:
    text = text.strip()
    quoted = _QUOTED.fullmatch(text)
    if quoted and not quoted[2].startswith(_BRACKETS):
        return quoted[2]
    text = quoted[2] if quoted else text
    if not text.startswith(_BRACKETS):
        if ',' not in text:
            return DictAction._parse_int_float_bool(text)
        if _is_text(key, text, present):
            return text
    try:
        return DictAction._parse_iterable(text)
    except AssertionError:
        raise ValueError(f'--cfg-options {key}: the brackets of {text!r:.80} do not match; close each') from None


def _is_text(key: str, text: str, present: Any) -> bool:
    """Whether a value with commas is text that has commas in it, and no list."""
    if not isinstance(present, (str, type(None))):
        return False
    if _PATH.search(text) or _PATH.search(present or ''):
        return True
    if present is None:
        return False
    raise ValueError(
        f'--cfg-options {key}: {text!r:.80} may be text or a list, and replaces {present!r:.40}: '
        f'write {key}=[...] for a list, or {key}="\'...\'" for text'
    )
