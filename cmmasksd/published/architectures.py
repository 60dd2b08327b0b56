"""Towers and tokenizers by name or by their settings: what open_clip, timm and transformers may be asked for."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping
from typing import Any

from cmmasksd.published.errors import PublishedError

TOP = ('embed_dim', 'quick_gelu', 'vision_cfg', 'text_cfg', 'multimodal_cfg', 'custom_text', 'init_logit_bias')
WEIGHTS = ('timm_model_pretrained', 'hf_model_pretrained')
HUB_NAME = re.compile(r'\w[\w.-]*(/\w[\w.-]*)?')
# of transformers' configs: how it runs and what it is called, not what it is
NOT_OF_THE_MODEL = (
    'self', 'kwargs', 'architectures', 'attn_implementation', 'dtype', 'id2label', 'label2id', 'output_attentions',
    'output_hidden_states', 'problem_type', 'quantization_config', 'return_dict', 'torch_dtype', 'transformers_version',
)  # fmt: skip


def check_architecture(value: Any, place: str) -> None:
    """Makes sure that an architecture is one of open_clip's by name, or the settings of one, with nothing to fetch but
    the config of a language model, by its name on the hub.

    Raises:
        PublishedError: it is not.
    """
    if isinstance(value, str):
        _check_name(value, place)
        return
    if not isinstance(value, Mapping):
        raise PublishedError(f'{place} must be a name of open_clip or settings of one, got {value!r:.60}')
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg

    _check_keys(value, set(TOP), place)
    for part, kind in (('vision_cfg', CLIPVisionCfg), ('text_cfg', CLIPTextCfg)):
        settings = value.get(part)
        if not isinstance(settings, Mapping):
            raise PublishedError(f'{place} has no {part}: publish it anew')
        _check_keys(settings, {field.name for field in dataclasses.fields(kind)}, f'{place}.{part}')
        _check_sources(settings, f'{place}.{part}')


def check_tokenizer(value: Any, place: str) -> None:
    """Makes sure that a tokenizer is in the folder (``tokenizer``), or one of open_clip's models that reads CLIP's byte
    pairs, which need no file.

    Raises:
        PublishedError: it is not.
    """
    if value == 'tokenizer':
        return
    import open_clip

    _check_name(value, place)
    if open_clip.get_model_config(value)['text_cfg'].get('hf_tokenizer_name'):
        raise PublishedError(f"{place}: the tokenizer of {value!r:.60} must lie in the folder as 'tokenizer'")


def check_language_model(value: Any, place: str) -> None:
    """Makes sure that a language model is described by its settings, so that nothing is fetched.

    Raises:
        PublishedError: a name or path, or settings that transformers' config of that model has not.
    """
    if not isinstance(value, Mapping):
        raise PublishedError(f'{place} must be the settings of the language model, got {value!r:.60}; publish it anew')
    known = language_model_keys(value.get('model_type'), place)
    _check_keys(value, known | {'model_type'}, place)


def language_model_keys(model_type: Any, place: str) -> set[str]:
    """The settings that describe a language model of transformers.

    Raises:
        PublishedError: transformers is not installed, or has no such model.
    """
    try:
        from transformers import CONFIG_MAPPING
    except ImportError as error:
        raise PublishedError(
            f"{place} needs Hugging Face's transformers, which is not installed: pip install 'cmmasksd[transformers]'"
        ) from error
    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
        raise PublishedError(f'{place}.model_type is {model_type!r:.40}, which transformers does not know: install the '
                             'version that it was published with')  # fmt: skip
    names = inspect.signature(CONFIG_MAPPING[model_type].__init__).parameters
    return {name for name in names if not name.startswith('_')} - {*NOT_OF_THE_MODEL}


def _check_name(name: Any, place: str) -> None:
    import open_clip

    if name not in open_clip.list_models():
        raise PublishedError(
            f'{place} is {name!r:.60}, which is not a name that open_clip has (open_clip.list_models()): install the '
            'version that the model was published with'
        )


def _check_keys(settings: Mapping[str, Any], known: set[str], place: str) -> None:
    if unknown := sorted(settings.keys() - known):
        raise PublishedError(f'{place}.{unknown[0]:.40} is unknown: take it out, or publish the model anew')


def _check_sources(settings: Mapping[str, Any], place: str) -> None:
    for name in WEIGHTS:
        if settings.get(name):
            raise PublishedError(f'{place}.{name} would fetch weights: write false')
    language_model = settings.get('hf_model_name')
    if language_model and not (isinstance(language_model, str) and HUB_NAME.fullmatch(language_model)):
        raise PublishedError(
            f'{place}.hf_model_name must be a name on the Hugging Face hub, got {language_model!r:.60}'
        )
    image_model = settings.get('timm_model_name')
    if image_model:
        import timm

        if not isinstance(image_model, str) or not timm.is_model(image_model):
            raise PublishedError(f'{place}.timm_model_name is {image_model!r:.60}, which timm has not')


def fetched_configs(model: Mapping[str, Any]) -> list[str]:
    """Names of the language models of which open_clip fetches the config from the hub when it builds the model."""
    import open_clip

    architectures = [part.get('architecture') for part in model.values() if isinstance(part, Mapping)]
    settings = [open_clip.get_model_config(each) if isinstance(each, str) else each for each in architectures if each]
    names = (each['text_cfg'].get('hf_model_name') for each in settings)
    return sorted({name for name in names if name})
