"""What ``paramwise_cfg`` says of each parameter: checks of its settings, layers of the towers, groups."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.registry import OPTIMIZERS
from torch import nn

from cmmasksd.engine.checks import ConfigError, check_known, check_number

WHERE = 'optim_wrapper.paramwise_cfg'
TOWERS = ('backbone.', 'text_encoder.')
MULTIPLIERS = (
    'head_lr_mult',
    'bias_lr_mult',
    'bias_decay_mult',
    'norm_decay_mult',
    'dwconv_decay_mult',
    'flat_decay_mult',
    'dcn_offset_lr_mult',
)
KNOWN = (*MULTIPLIERS, 'layer_decay_rate', 'custom_keys', 'bypass_duplicate')
BLOCK = re.compile(r'\.(?:resblocks|blocks?|layers?)\.(\d+)\.')
STEM = '.patch_embed.'  # timm's; of a hybrid it has blocks of its own
# what comes before a tower's first block, as open_clip, timm and transformers name it
EMBEDDINGS = re.compile(
    r'\.(?:conv1|\w+_embedding|embeddings|embed_\w+|ln_pre|norm_pre|patch_embed|pos_embed|\w+_token)(?:\.|$)'
)


def check_paramwise(settings: Mapping[str, Any], optimizer: Mapping[str, Any], names: Sequence[str]) -> None:
    """Makes sure that every key of ``paramwise_cfg`` is known, in range, and of some use for these parameters.

    Args:
        settings: ``paramwise_cfg``.
        optimizer: the config of the optimiser.
        names: of the model's parameters.

    Raises:
        ConfigError: it is not; names the nearest key, or the mend.
    """
    if not isinstance(settings, Mapping):
        raise ConfigError(f'{WHERE}={settings!r}: write a dict, such as dict(head_lr_mult=10).')
    check_known(settings, KNOWN, WHERE)
    for key in MULTIPLIERS:
        if settings.get(key) is not None:
            check_number(settings[key], f'{WHERE}.{key}', at_least=0)
    if settings.get('layer_decay_rate') is not None:
        check_number(settings['layer_decay_rate'], f'{WHERE}.layer_decay_rate', above=0, at_most=1)
    custom = settings.get('custom_keys') or {}
    if not isinstance(custom, Mapping):
        raise ConfigError(f'{WHERE}.custom_keys={custom!r}: write a dict, such as dict(backbone=dict(lr_mult=0.1)).')
    for key, own in custom.items():
        _check_custom(key, own, optimizer, names)
    scaled = [key for key in settings if key.endswith('decay_mult') and settings[key] is not None]
    scaled += [f'custom_keys.{key}.decay_mult' for key, own in custom.items() if 'decay_mult' in own]
    if scaled and optimizer.get('weight_decay') is None:
        raise ConfigError(
            f'{WHERE}.{scaled[0]} multiplies a weight decay, but there is none: set '
            'optim_wrapper.optimizer.weight_decay.'
        )


def joined_keys(custom: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    """Custom keys with dots, as ``--cfg-options`` nests them: ``dict(neck=dict(text=dict(lr_mult=0)))`` is a key
    ``neck.text``.
    """
    keys: dict[str, Any] = {}
    for key, own in custom.items():
        inner = own if isinstance(own, Mapping) else {}
        nested = {name: value for name, value in inner.items() if isinstance(value, Mapping)}
        keys |= joined_keys(nested, f'{prefix}{key}.')
        if len(nested) < len(inner) or not inner:
            keys[prefix + key] = {name: value for name, value in inner.items() if name not in nested} if inner else own
    return keys


def _check_custom(key: str, own: Any, optimizer: Mapping[str, Any], names: Sequence[str]) -> None:
    where = f'{WHERE}.custom_keys.{key}'
    if not isinstance(own, Mapping):
        raise ConfigError(f'{where}={own!r}: write a dict, such as dict(lr_mult=0.1, decay_mult=1.0).')
    check_known(own, {'lr_mult', 'decay_mult', *_options_of(optimizer['type'])}, where)
    for name in ('lr_mult', 'decay_mult', 'lr', 'weight_decay'):
        if name in own:
            check_number(own[name], f'{where}.{name}', at_least=0)
    if not any(key in name for name in names):
        parts = {'.'.join(name.split('.')[:depth]) for name in names for depth in range(1, 7)}
        nearest = difflib.get_close_matches(key, parts, n=1) or [
            ', '.join(dict.fromkeys(n.split('.')[0] for n in names))
        ]
        raise ConfigError(
            f'{where} matches no parameter of the model: write a part of their names, such as {nearest[0]}.'
        )


def _options_of(optimizer: Any) -> set[str]:
    """What an optimiser lets a group of parameters set."""
    with OPTIMIZERS.switch_scope_and_registry(None) as registry:
        found = registry.get(optimizer) if isinstance(optimizer, str) else optimizer
    return set(inspect.signature(found).parameters) - {'params'}


def shut_out(settings: Mapping[str, Any]) -> list[str]:
    """A sentence for each custom key that shuts out a setting of weight decay: by mmengine's rule a parameter that a
    custom key matches follows no other rule.
    """
    decays = [key for key in settings if key.endswith('decay_mult') and settings[key] is not None]
    return [
        f'{WHERE}.custom_keys.{key} has no decay_mult, so that what it matches keeps the full weight decay, whatever '
        f'{", ".join(decays)} say: give it a decay_mult, or longer custom keys for its norms and biases.'
        for key, own in (settings.get('custom_keys') or {}).items()
        if decays and not {'decay_mult', 'weight_decay'} & own.keys() and own.get('lr_mult') != 0
    ]


def layer_scales(model: nn.Module, rate: float) -> dict[str, float]:
    """Layer-wise decay of the learning rate (BEiT's, named as in mmpretrain): each block of a tower learns ``rate``
    times as fast as the one above it, its embeddings slowest; all above the last block, and what stands on the towers,
    at the full rate.

    Returns:
        the factor of every parameter, by name.

    Raises:
        ConfigError: a tower whose parameters lie in no numbered blocks, or in those of several stages, as Swin's.
    """
    names = [name for name, _ in model.named_parameters()]
    scales = dict.fromkeys(names, 1.0)
    for tower in TOWERS:
        own = [name for name in names if name.startswith(tower)]
        blocks = {name: int(found[1]) for name in own if STEM not in name and (found := BLOCK.search(name))}
        if own and not blocks:
            raise ConfigError(
                f'{WHERE}.layer_decay_rate needs towers of transformer blocks, and {tower[:-1]} has none: leave it '
                'out, or give custom_keys.'
            )
        stages = sorted({name[: found.start()] for name in blocks if (found := BLOCK.search(name))})
        if len(stages) > 1:
            raise ConfigError(
                f'{WHERE}.layer_decay_rate needs towers whose blocks are counted through, and {tower[:-1]} counts '
                f'those of each stage anew ({", ".join(stages[:3])} ...): give the stages lr_mult by custom_keys.'
            )
        top = max(blocks.values(), default=0) + 2
        for name in own:
            layer = blocks[name] + 1 if name in blocks else 0 if EMBEDDINGS.search(name) else top
            scales[name] = rate ** (top - layer)
    return scales


def merge(groups: Sequence[Mapping[str, Any]], keys: Sequence[Any]) -> list[dict[str, Any]]:
    """One group for all parameters of equal settings: an optimiser's fused step wants few of them.

    Args:
        groups: one for each parameter.
        keys: what is not to be mixed, one for each group; the merged groups are sorted by it, then as they come.
    """
    merged: dict[tuple, dict[str, Any]] = {}
    for key, group in sorted(zip(keys, groups), key=lambda pair: pair[0]):
        settings = {name: value for name, value in group.items() if name != 'params'}
        into = merged.setdefault((key, repr(sorted(settings.items()))), {'params': [], **settings})
        into['params'].extend(group['params'])
    return list(merged.values())
