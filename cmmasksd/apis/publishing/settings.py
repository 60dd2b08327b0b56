"""From a training's config to what is published of it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

import cmmasksd
from cmmasksd.apis.publishing.tokenizers import copy_tokenizer
from cmmasksd.engine.leaves import leaf_configs
from cmmasksd.models import ReferringSegmentor
from cmmasksd.models.open_clip_tower import get_architecture
from cmmasksd.models.text_encoders.transformers_models import read_config
from cmmasksd.published.architectures import language_model_keys
from cmmasksd.published.config import FORMAT
from cmmasksd.published.errors import PublishedError
from cmmasksd.published.types import TRAINING


def describe(cfg: Config, folder: Path) -> dict[str, Any]:
    """The content of ``config.json``: of the model what inference needs, and the first test pipeline.

    Architectures and language models of a folder are written out; a tokenizer of Hugging Face's is copied into
    ``folder``. Where weights of the towers come from is left out, for they are in the published file.

    Raises:
        PublishedError: a config without model or test pipeline, or with values that JSON has not.
    """
    name = cfg.filename or 'The config'
    model = _plain(cfg.get('model'), f'{name}: model')
    try:
        pipeline = _plain(next(leaf_configs(cfg.test_dataloader.dataset)).pipeline, f'{name}: pipeline')
    except AttributeError:
        raise PublishedError(
            f'{name} has no test_dataloader.dataset.pipeline, which says how pictures are prepared: give a whole config'
        ) from None
    if not isinstance(model, dict):
        raise PublishedError(f'{name} has no model: give the config that the checkpoint was trained with')
    threshold = model.pop('threshold', inspect.signature(ReferringSegmentor).parameters['threshold'].default)
    for step in pipeline:
        if step.get('tokenizer') is not None:
            step['tokenizer'] = copy_tokenizer(step['tokenizer'], folder)
    return dict(
        format_version=FORMAT,
        cmmasksd_version=cmmasksd.__version__,
        threshold=threshold,
        model=_without_training(model),
        pipeline=pipeline,
    )


def _plain(value: Any, place: str) -> Any:
    """The value as JSON gives it back: dicts, lists, strings, numbers; a copy."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise PublishedError(f'{place} holds what JSON cannot ({error}): write it as numbers and strings') from error


def _without_training(config: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in config.items():
        if name in TRAINING:
            continue
        if name == 'architecture' and isinstance(value, str) and ':' in value:  # of a folder or the hub
            value = get_architecture(value)
        elif name == 'name_or_path':
            value = _language_model(value)
        elif isinstance(value, dict) and 'type' in value:
            value = _without_training(value)
        found[name] = value
    return found


def _language_model(name_or_path: str | Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a language model, whole, so that no other version's defaults and no network take part."""
    place = f'the language model {name_or_path!r:.60}'
    settings = read_config(name_or_path, place).to_dict()
    known = language_model_keys(settings['model_type'], place)
    kept = {name: value for name, value in settings.items() if name in known and value is not None}
    return _plain(dict(kept, model_type=settings['model_type']), place)
