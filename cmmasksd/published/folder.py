"""A published model in a folder, or by its name on the hub."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

from cmmasksd.published.config import MAX_BYTES, TOKENIZER, parse_config, to_config
from cmmasksd.published.errors import PublishedError
from cmmasksd.published.hub import fetch_published
from cmmasksd.published.weights import check_safetensors

CONFIG, WEIGHTS, CARD = 'config.json', 'model.safetensors', 'README.md'
# Texts and vocabularies; a pickle or a program has no place among them.
TOKENIZER_FILE = re.compile(r'[\w-]+\.(json|txt|model|jinja)')
OF_A_TOKENIZER = ('hf_tokenizer_name', 'context_length', 'vocab_size', 'tokenizer_kwargs')
CLEANING = ('clean', 'strip_sep_token', 'language')


class Published(NamedTuple):
    """A model that was published.

    Attributes:
        config: of the model and its test pipeline, as :class:`~cmmasksd.apis.ReferringInferencer` takes it.
        weights: the safetensors file.
    """

    config: Config
    weights: Path


def is_published(path: str | Path) -> bool:
    """Whether a path is the folder of a published model, or its file of weights."""
    path = Path(path).expanduser()
    folder = path.parent if path.name == WEIGHTS else path
    if not (folder / CONFIG).is_file():
        return False
    with open(folder / CONFIG, 'rb') as file:
        return b'"format_version"' in file.read(MAX_BYTES)


def open_published(
    name_or_folder: str | Path,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
) -> Published:
    """Finds and checks a published model; nothing in it is run.

    Args:
        name_or_folder: a folder, or else a name on the Hugging Face hub (``owner/model``).
        revision: branch, tag or commit on the hub; None: its main branch.
        token, cache_dir: for the hub; see :func:`~cmmasksd.published.hub.fetch_published`.

    Raises:
        PublishedError: no such folder or name, no such revision, a hub that cannot be reached, or a model that is not
            to be trusted.
    """
    path = Path(name_or_folder).expanduser()
    if path.exists():
        if revision is not None:
            raise PublishedError(f'{path} is on this machine, where there is no revision {revision!r}: leave it out')
        return read_published(path)
    return read_published(fetch_published(str(name_or_folder), revision, token, cache_dir))


def read_published(folder: str | Path) -> Published:
    """Reads and checks the folder of a published model, or that of its file of weights. The weights are looked at when
    they are loaded (:func:`~cmmasksd.published.weights.load_published`).

    Raises:
        PublishedError: files that are missing, of another kind, or ask for more than a model and its pipeline.
    """
    folder = Path(folder).expanduser()
    folder = folder.parent if folder.name == WEIGHTS else folder
    if not folder.is_dir():
        raise PublishedError(f'{folder} is no folder; give the folder that holds {CONFIG} and {WEIGHTS}')
    if not (folder / CONFIG).is_file():
        raise PublishedError(
            f'{folder} holds no {CONFIG}, so it is no published model; give the folder or repository that '
            'tools/misc/publish_model.py --format safetensors wrote'
        )
    content = parse_config((folder / CONFIG).read_bytes(), str(folder / CONFIG))
    check_safetensors(folder / WEIGHTS)
    if any(step.get('tokenizer') == TOKENIZER for step in content['pipeline']):
        check_tokenizer_folder(folder / TOKENIZER)
    return Published(to_config(content, folder), folder / WEIGHTS)


def check_tokenizer_folder(folder: Path) -> None:
    """Makes sure that a tokenizer's folder holds texts and vocabularies alone, and that none of them asks for code.

    Raises:
        PublishedError: it does not.
    """
    if not folder.is_dir():
        raise PublishedError(f'{folder} does not exist: the tokenizer lies there; fetch the model again')
    for path in sorted(folder.iterdir()):
        if not TOKENIZER_FILE.fullmatch(path.name) or not path.is_file():
            raise PublishedError(f'{path} is no file of a tokenizer (json, txt, model): take it out')
        if path.name.endswith('config.json'):  # others hold words, whatever they are
            _check_settings(_read_json(path), path)


def _check_settings(settings: Any, path: Path) -> None:
    if not isinstance(settings, dict) or 'auto_map' in settings:
        raise PublishedError(f'{path} asks for code (auto_map) or is no object: take that out')
    if path.name != 'open_clip_config.json':
        return
    text = _inner(_inner(settings, 'model_cfg'), 'text_cfg')
    if (
        settings.keys() != {'model_cfg'}
        or _inner(settings, 'model_cfg').keys() != {'text_cfg'}
        or text.keys() - {*OF_A_TOKENIZER}
        or _inner(text, 'tokenizer_kwargs').keys() - {*CLEANING}
    ):
        raise PublishedError(f'{path} says more of a tokenizer than how it cleans a text; publish the model anew')


def _inner(settings: dict[str, Any], name: str) -> dict[str, Any]:
    found = settings.get(name, {})
    return found if isinstance(found, dict) else {'no object': found}


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except (ValueError, RecursionError) as error:
        raise PublishedError(f'{path} is no JSON; fetch it again') from error
