"""The ``config.json`` of a published model: model, test pipeline and threshold as plain JSON.

``{"format_version": 1, "cmmasksd_version": "0.1.0", "threshold": 0.35, "model": {...}, "pipeline": [...]}``. Paths in
it are relative to its folder, and there is at most one: the tokenizer's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from cmmasksd.checkpoints.state_dicts import brief
from cmmasksd.published.errors import PublishedError
from cmmasksd.published.types import check_typed
from cmmasksd.registry import MODELS, SCOPE, TRANSFORMS

FORMAT = 1
KEYS = ('format_version', 'cmmasksd_version', 'threshold', 'model', 'pipeline')
MAX_BYTES = 2**20
SEGMENTOR = 'ReferringSegmentor'
TOKENIZER = 'tokenizer'  # the folder of a tokenizer that travels, and what TokenizeExpressions.tokenizer then says


def parse_config(data: bytes, source: str) -> dict[str, Any]:
    """Reads and checks the text of a ``config.json``; nothing that it says is built.

    Raises:
        PublishedError: no plain JSON, other keys, or types that are not this package's own.
    """
    if len(data) > MAX_BYTES:
        raise PublishedError(f'{source} has {len(data)} bytes, which no config of a model has; fetch it again')
    try:
        content = json.loads(data.decode('utf-8'), object_pairs_hook=_each_key_once, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise PublishedError(f'{source} is no plain JSON ({brief(error)}); fetch it again or publish anew') from error
    check_content(content, source)
    return content


def check_content(content: Any, source: str) -> None:
    """Makes sure that a config is one of ours and asks for no more than a model and its pipeline.

    Raises:
        PublishedError: it is not; names the key and the mend.
    """
    if not isinstance(content, Mapping) or 'format_version' not in content:
        raise PublishedError(
            f"{source} is not the config of a model published by cmmasksd (it has no 'format_version'); give the "
            'folder or repository that tools/misc/publish_model.py wrote'
        )
    if type(content['format_version']) is not int or content['format_version'] != FORMAT:
        raise PublishedError(
            f'{source} has format_version {content["format_version"]!r:.20}, and this cmmasksd reads {FORMAT}: install '
            f'the version that wrote it ({content.get("cmmasksd_version")!r:.20})'
        )
    unknown, missing = sorted(content.keys() - {*KEYS}), sorted({*KEYS} - content.keys())
    if unknown or missing:
        what = f'the unknown key {unknown[0]!r:.40}' if unknown else f'no {missing[0]}'
        raise PublishedError(f'{source} has {what}; it holds {", ".join(KEYS)} and no more: publish it anew')
    _check_threshold(content['threshold'], source)
    _check_model(content['model'], source)
    _check_pipeline(content['pipeline'], source)


def to_config(content: Mapping[str, Any], folder: Path) -> Config:
    """The checked content as a config that :class:`~cmmasksd.apis.ReferringInferencer` takes; the path of a tokenizer
    that lies in ``folder`` is made whole.
    """
    plain = json.loads(json.dumps(content))  # a copy
    for step in plain['pipeline']:
        if step.get('tokenizer') == TOKENIZER:
            step['tokenizer'] = str(folder.resolve() / TOKENIZER)
    return Config(
        dict(
            default_scope=SCOPE,
            model=dict(plain['model'], threshold=plain['threshold']),
            test_dataloader=dict(dataset=dict(type='RefCOCODataset', test_mode=True, pipeline=plain['pipeline'])),
        )
    )


def _check_threshold(threshold: Any, source: str) -> None:
    if type(threshold) not in (int, float) or not 0 <= threshold < 1:
        raise PublishedError(f'{source}: threshold must be a number in [0, 1), got {threshold!r:.40}; write 0.35')


def _check_model(model: Any, source: str) -> None:
    check_typed(model, MODELS, f'{source}: model')
    if model['type'].removeprefix(f'{SCOPE}.') != SEGMENTOR:
        raise PublishedError(f"{source}: model.type is {model['type']!r:.60}; a published model is a '{SEGMENTOR}'")
    if 'threshold' in model:
        raise PublishedError(f'{source}: model.threshold stands beside threshold; write the latter alone')


def _check_pipeline(pipeline: Any, source: str) -> None:
    if not isinstance(pipeline, list) or not pipeline:
        raise PublishedError(f'{source}: pipeline must be a list of steps; publish it anew')
    for number, step in enumerate(pipeline):
        check_typed(step, TRANSFORMS, f'{source}: pipeline[{number}]')


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f'{next(name for name in names if names.count(name) > 1)!r:.40} stands twice')
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f'{name} is no number of JSON')
