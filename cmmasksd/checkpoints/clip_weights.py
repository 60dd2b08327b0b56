"""CLIP's weights, of whatever file or tag, under OpenAI's names; and the activation that they were trained with."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from torch import Tensor

from cmmasksd.checkpoints.hugging_face_clip import from_hugging_face
from cmmasksd.checkpoints.reading import CheckpointError, find_file, first_of_machine, identify, load_checkpoint_file
from cmmasksd.checkpoints.state_dicts import CLIP_NAMES, HUGGING_FACE_NAMES, brief, describe_layout
from cmmasksd.checkpoints.torchscript_archive import ArchiveError, read_torchscript_tensors

WEIGHT_SUFFIXES = ('.pt', '.pth', '.bin', '.ckpt', '.safetensors')
_OPENAI_SETTINGS = ('input_resolution', 'context_length', 'vocab_size')  # integers that OpenAI keeps beside the weights


def load_clip_state_dict(
    source: str | os.PathLike[str], architecture: str | None = None, quick_gelu: bool | None = None
) -> dict[str, Tensor]:
    """Reads the weights of a CLIP model under OpenAI's names (``visual.*``, ``transformer.*``,
    ``token_embedding.weight`` ...).

    Args:
        source: a local file (OpenAI's own TorchScript archive, a state dict, a checkpoint that holds one, safetensors;
            open_clip's ``text.*`` names and Hugging Face's layout are mapped), or a tag of open_clip such as
            ``openai``, which is downloaded.
        architecture: open_clip's model name, which a tag needs, e.g. ``ViT-B-16-quickgelu``.
        quick_gelu: whether the model that they are for has QuickGELU; None: not checked.

    Returns:
        Both towers, ``logit_scale`` and, where there is one, ``logit_bias``; floating-point tensors in float32.

    Raises:
        CheckpointError: no such file or tag, a download that fails, a file that cannot be read safely or holds no CLIP,
            or weights that were trained with another activation.
    """
    path = _find_weights(str(source), architecture, quick_gelu)
    is_archive = identify(path) == 'torchscript'
    if is_archive:
        try:
            state: Any = read_torchscript_tensors(path)
        except ArchiveError as error:
            raise CheckpointError(
                f'{path} cannot be read as a TorchScript archive: {brief(error)}; download it anew'
            ) from error
    else:
        content = load_checkpoint_file(path)
        state = content.get('state_dict', content)
    if quick_gelu is not None:
        openai = is_archive or (isinstance(state, Mapping) and any(name in state for name in _OPENAI_SETTINGS))
        _check_activation(True if openai else _recorded_activation(path), quick_gelu, f'{path}', architecture)
    return _to_clip(state, path, quick_gelu)


def _find_weights(source: str, architecture: str | None, quick_gelu: bool | None) -> Path:
    path = Path(source).expanduser()
    if path.exists() or path.suffix in WEIGHT_SUFFIXES or len(path.parts) > 1:
        return find_file(path)
    if architecture is None:
        raise CheckpointError(
            f"pretrained={source!r} is no file, and as a tag it needs open_clip's name of the architecture, such as "
            "'ViT-B-16-quickgelu', but the config spells it out as a dict: write the name, or give a file"
        )
    from open_clip import pretrained as open_clip_weights  # slow to import, and needed for tags alone

    config = open_clip_weights.get_pretrained_cfg(architecture, source)
    if not config:
        tags = ', '.join(open_clip_weights.list_pretrained_tags_by_model(architecture))
        raise CheckpointError(
            f'{source!r} is neither a file nor weights that open_clip has for {architecture} '
            f'(it has: {brief(tags or "none: it does not know that architecture", 240)})'
        )
    if quick_gelu is not None:
        _check_activation(bool(config.get('quick_gelu')), quick_gelu, f"open_clip's {source!r}", architecture)
    return first_of_machine(lambda: _download_tag(source, architecture, config))


def _download_tag(tag: str, architecture: str, config: Mapping[str, Any]) -> Path:
    from open_clip import pretrained as open_clip_weights

    try:
        return Path(open_clip_weights.download_pretrained(config))
    except (OSError, RuntimeError, HTTPException) as error:
        where = config.get('url') or f'https://huggingface.co/{config.get("hf_hub")}'
        raise CheckpointError(
            f'the weights {tag!r} of {architecture} could not be downloaded ({brief(error)}); '
            f'fetch them on a machine with a network ({where}) and give the path of the file instead of the tag'
        ) from error


def _check_activation(trained_with: bool | None, quick_gelu: bool, what: str, architecture: str | None) -> None:
    """Refuses weights for a model of the other activation, with which they load and give wrong features."""
    if trained_with in (None, quick_gelu):
        return
    had, lacks = ('with', 'has it not') if trained_with else ('without', 'has it')
    other = f'{architecture}-quickgelu' if trained_with else f'{architecture}'.removesuffix('-quickgelu')
    named = architecture is not None and other != architecture
    mend = f"use '{other}' instead of '{architecture}'" if named else f'set quick_gelu={trained_with} in it'
    raise CheckpointError(f'{what} was trained {had} QuickGELU, but the architecture {lacks}: {mend}, for both towers')


def _recorded_activation(path: Path) -> bool | None:
    """Whether the weights were trained with QuickGELU, where open_clip's or Hugging Face's config lies beside them."""
    for name in ('open_clip_config.json', 'config.json'):
        try:
            config = json.loads((path.parent / name).read_text())
            if name == 'open_clip_config.json':
                return bool(config['model_cfg'].get('quick_gelu', False))
            if config['model_type'] == 'clip':
                return config['vision_config'].get('hidden_act', 'quick_gelu') == 'quick_gelu'
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # none, or that of something else
    return None


def _to_clip(state: Any, path: Path, quick_gelu: bool | None) -> dict[str, Tensor]:
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise CheckpointError(f"{path} holds no state dict; save the model's state_dict()")
    # attn_mask: a constant that modules of an archive carry beside their weights
    clip = {
        name.removeprefix('text.'): value
        for name, value in state.items()
        if name not in _OPENAI_SETTINGS and not name.endswith('attn_mask')
    }
    _check_names_and_tensors(clip, path)
    if any(name.startswith(HUGGING_FACE_NAMES) for name in clip):
        clip = _convert(clip, path)
        if quick_gelu is False and _recorded_activation(path) is None:
            print_log(
                f"{path} does not say its activation (no config.json beside it). OpenAI's weights need QuickGELU: if "
                "these are OpenAI's, use an architecture that ends in -quickgelu.",
                logger='current',
                level=logging.WARNING,
            )
    return {
        name: value.detach().float() if value.is_floating_point() else value.detach() for name, value in clip.items()
    }


def _check_names_and_tensors(clip: Mapping[str, Any], path: Path) -> None:
    if not any(name.startswith((*CLIP_NAMES, *HUGGING_FACE_NAMES)) for name in clip):
        found = describe_layout(clip) or 'something else; give a CLIP model of OpenAI or open_clip'
        examples = brief(', '.join(list(clip)[:3]), 120)
        raise CheckpointError(f'{path} holds no weights of CLIP (its names: {examples}), but {found}')
    odd = next((name for name, value in clip.items() if not isinstance(value, Tensor)), None)
    if odd is not None:
        raise CheckpointError(
            f'{path}: {odd:.80} is a {type(clip[odd]).__name__}, not a tensor; give a plain state dict'
        )
    # expanded or shared views could unfold to any size
    if sum(value.numel() * value.element_size() for value in clip.values()) > 2 * path.stat().st_size:
        raise CheckpointError(f'{path} holds tensors that are larger than the file; give a plain state dict')


def _convert(clip: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    try:
        return from_hugging_face(clip)
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} is in Hugging Face's layout, but not a CLIP that can be converted: {brief(error, 80)} is unknown "
            "or lacking; give a CLIPModel's weights, or open_clip's file of the same model"
        ) from error
