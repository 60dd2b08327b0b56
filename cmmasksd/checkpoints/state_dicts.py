"""State dicts of strangers: where in a checkpoint they lie, under which names, and how they differ from a model's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

# Keys under which training code keeps the weights, in the order of choice: moving averages only where nothing else is.
_ENTRIES = ('state_dict', 'model', 'model_state_dict', 'module', 'net', 'weights', 'state_dict_ema', 'model_ema', 'ema')
_PREFIXES = ('module.', 'model.')  # of DistributedDataParallel and Lightning
_COMPILED = '_orig_mod.'  # of torch.compile, before the names of whatever it compiled
_COUNTERS = ('n_averaged', 'steps')  # of torch's and mmengine's averaged models, beside ``module.``
POSITIONS = ('visual.positional_embedding', 'visual.trunk.pos_embed')  # (..., n, D), resized at load
CLIP_NAMES = ('visual.', 'transformer.', 'token_embedding.', 'positional_embedding', 'ln_final.', 'text_projection')
HUGGING_FACE_NAMES = ('text_model.', 'vision_model.')
_LAYOUTS = {  # beginnings of names -> what has them, and what to do
    HUGGING_FACE_NAMES: "a CLIP in Hugging Face's layout; give it as `pretrained` of the towers",
    ('backbone.', 'neck.', 'decode_head.'): 'a whole segmentor; give it as CHECKPOINT or load_from, with its config',
    CLIP_NAMES: 'a CLIP; give it as `pretrained` of the towers',
    ('cls_token', 'patch_embed.', 'blocks.'): "a ViT of timm's; give a CLIP of OpenAI or open_clip",
    ('visual_encoder.', 'text_encoder.', 'bert.'): 'a model of images and texts, but no CLIP of OpenAI or open_clip',
    ('layer1.', 'layer2.'): 'a ResNet; give a CLIP of OpenAI or open_clip',
}


def brief(text: object, limit: int = 160) -> str:
    """The first line of a text, cut after ``limit`` characters, for a message that quotes a file or another error."""
    line = next(iter(str(text).strip().splitlines()), '')
    return line if len(line) <= limit else f'{line[: limit - 4]} ...'


def is_state_dict(value: Any) -> bool:
    """Whether it maps names to values, at least one of them a tensor."""
    return (
        isinstance(value, Mapping)
        and all(isinstance(name, str) for name in value)
        and any(isinstance(each, Tensor) for each in value.values())
    )


def unwrap_checkpoint(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The same checkpoint with its weights under ``state_dict``, where they lay under another usual key, and without
    wrappers' prefixes before their names. A plain state dict stays a plain one.
    """
    content = dict(checkpoint)
    for entry in _ENTRIES:
        if is_state_dict(content.get(entry)):
            weights = content.pop(entry)
            return {**content, 'state_dict': unwrap_names(weights)}
        inner = content.get(entry)
        if isinstance(inner, Mapping) and is_state_dict(inner.get('state_dict')):
            return {**content, 'state_dict': unwrap_names(inner['state_dict'])}
    return dict(unwrap_names(checkpoint)) if is_state_dict(checkpoint) else content


def unwrap_names(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without what wrappers put before every name: ``module.`` (several GPUs, averaged models), ``model.`` (Lightning)
    and ``_orig_mod.`` (torch.compile, anywhere in a name), in any combination.
    """
    names = {name: name.replace(_COMPILED, '') for name in state}
    if any(new.startswith('module.') for new in names.values()):
        names = {old: new for old, new in names.items() if new not in _COUNTERS}
    while prefix := _shared_prefix(names.values()):
        names = {old: new.removeprefix(prefix) for old, new in names.items()}
    if all(old == new for old, new in names.items()) and len(names) == len(state):
        return state  # as it is, with torch's metadata
    return {new: state[old] for old, new in names.items()}


def _shared_prefix(names: Iterable[str]) -> str:
    listed = list(names)
    return next((prefix for prefix in _PREFIXES if listed and all(name.startswith(prefix) for name in listed)), '')


def describe_layout(names: Iterable[str]) -> str:
    """What names like these belong to, and what to do with it; '' where nothing is known of them."""
    listed = [name.removeprefix('text.') for name in names]
    for beginnings, description in _LAYOUTS.items():
        if any(name.startswith(beginnings) for name in listed):
            return description
    return ''


def compare(own: Mapping[str, torch.Size], state: Mapping[str, Any], resizable: tuple[str, ...] = ()) -> str:
    """How a state dict differs from a model, in few words: of each kind of fault the number and the first name.

    Args:
        own: the shape of each of the model's tensors.
        state: what is to be loaded.
        resizable: endings of names whose rows (..., n, D) may be of another number.

    Returns:
        Such as ``3 missing, such as visual.proj; 1 unknown, such as head.weight``; '' where nothing differs.
    """
    faults = {
        'missing': sorted(own.keys() - state.keys()),
        'unknown': sorted(state.keys() - own.keys()),
        'of another shape': sorted(
            name for name in own.keys() & state.keys() if not _fits(name, state[name], own[name], resizable)
        ),
    }
    return '; '.join(f'{len(found)} {fault}, such as {found[0]:.80}' for fault, found in faults.items() if found)


def _fits(name: str, value: Any, shape: torch.Size, resizable: tuple[str, ...]) -> bool:
    if not isinstance(value, Tensor):
        return False
    if value.shape == shape or not name.endswith(resizable):
        return value.shape == shape
    return value.dim() == len(shape) and (value.shape[:-2], value.shape[-1]) == (shape[:-2], shape[-1])
