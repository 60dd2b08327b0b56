"""Which types and arguments a published config may name: this package's own, by their constructors' signatures.

mmengine's registries would import and call whatever a string names (``os.system``); so names are looked up here first,
in our registries alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from mmengine.registry import Registry

from cmmasksd.published.architectures import check_architecture, check_language_model, check_tokenizer
from cmmasksd.published.errors import PublishedError
from cmmasksd.registry import SCOPE

# Of training alone: a published model has none of it. `pretrained` would fetch weights that model.safetensors holds.
TRAINING = ('distillation', 'loss_decode', 'init_cfg', 'pretrained', 'activation_checkpointing')
CHECKS = dict(architecture=check_architecture, name_or_path=check_language_model, tokenizer=check_tokenizer)
# of TimmBackbone, which hands on what it does not know; timm has others that read files
TIMM_OPTIONS = ('out_indices', 'img_size', 'patch_size', 'window_size', 'output_stride', 'drop_path_rate')
MAX_DEPTH = 8
MEND = 'publish a model of types of cmmasksd alone, or give others the config and --format pth'


def check_typed(config: Any, registry: Registry, place: str, depth: int = 0) -> None:
    """Checks a config with ``type``, and those inside it.

    Args:
        config: what is to be built later.
        registry: MODELS or TRANSFORMS.
        place: for messages: file and key.
        depth: how many configs it lies in.

    Raises:
        PublishedError: a type that is not ours, an argument that it has not, or none that it needs.
    """
    if not isinstance(config, Mapping) or 'type' not in config or depth > MAX_DEPTH:
        raise PublishedError(f"{place} must be an object with a 'type', got {config!r:.60}")
    parameters = inspect.signature(_find_class(config['type'], registry, place).__init__).parameters
    open_ended = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    known = {name for name, each in parameters.items() if each.kind is each.POSITIONAL_OR_KEYWORD} - {'self'}
    known |= set(TIMM_OPTIONS) if open_ended else set()
    for name, value in config.items():
        if name == 'type':
            continue
        if name not in known:
            raise PublishedError(f'{place}.{name:.40} is unknown to {config["type"]}: take it out; {MEND}')
        _check_argument(name, value, registry, f'{place}.{name}', depth)
    needed = [name for name in known & parameters.keys() if parameters[name].default is inspect.Parameter.empty]
    if lacking := sorted(set(needed) - config.keys()):
        raise PublishedError(f'{place} has no {lacking[0]}, which {config["type"]} needs: publish it anew')


def is_ours(kind: Any, registry: Registry) -> bool:
    """Whether a type is one of this package's own, written bare or with our scope."""
    if not isinstance(kind, str):
        return False
    registry.import_from_location()
    found = registry.module_dict.get(kind.removeprefix(f'{SCOPE}.'))
    return inspect.isclass(found) and found.__module__.startswith(f'{SCOPE}.')


def _find_class(kind: Any, registry: Registry, place: str) -> type:
    if not is_ours(kind, registry):
        raise PublishedError(
            f'{place}.type is {kind!r:.60}, which is not one of the types of cmmasksd itself, and a published model '
            f'brings no code: {MEND}'
        )
    return registry.module_dict[kind.removeprefix(f'{SCOPE}.')]


def _check_argument(name: str, value: Any, registry: Registry, place: str, depth: int) -> None:
    if name in TRAINING:
        if value:
            raise PublishedError(f'{place} is {value!r:.60}, which is for training: take it out, or write null')
    elif name in CHECKS and value is not None:
        CHECKS[name](value, place)
    elif isinstance(value, Mapping):
        check_typed(value, registry, place, depth + 1)
    elif isinstance(value, list) and any(isinstance(each, (Mapping, list)) for each in value):
        raise PublishedError(f'{place} must be a number, a string or a list of them, got {value!r:.60}')
