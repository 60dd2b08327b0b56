"""What a published config.json may not say; nothing of it is imported, built or run."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cmmasksd.published import PublishedError, read_published
from tests.published_models import architecture

Change = Callable[[dict[str, Any]], Any]


def with_text(**settings: Any) -> dict[str, Any]:
    found = architecture()
    found['text_cfg'].update(settings)
    return found


def with_vision(**settings: Any) -> dict[str, Any]:
    found = architecture()
    found['vision_cfg'].update(settings)
    return found


def nested(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = dict(type='TimmBackbone', name='resnet18')
    for _ in range(depth):
        inner = dict(type='ImageBackboneAdapter', backbone=inner)
    return inner


CASES: list[tuple[Change, str]] = [
    (lambda c: c['model'].update(type='os.system'), r"model.type is 'os.system', which is not one of the types"),
    (lambda c: c['model'].update(neck=dict(type='subprocess.run', args='true')), 'model.neck.type is .subprocess.run'),
    (lambda c: c['model'].update(neck=dict(type='mmseg.FPN', in_channels=[8])), 'model.neck.type is .mmseg.FPN'),
    (lambda c: c['model'].update(neck=dict(type='mmengine.BaseModel')), 'model.neck.type'),
    (lambda c: c['model'].update(neck=dict(type='cmmasksd.cmmasksd.CrossModalFPN')), 'model.neck.type'),
    (lambda c: c['model'].update(neck=dict(type='Linear')), 'model.neck.type'),
    (lambda c: c['model'].update(neck=dict(type='cmmasksd.registry')), 'model.neck.type'),
    (lambda c: c['model'].update(neck=dict(type=['os', 'system'])), 'model.neck.type'),
    (lambda c: c['model'].update(neck=[dict(type='CrossModalFPN')]), 'model.neck must be a number, a string or a list'),
    (lambda c: c['model'].update(neck=dict(fn='os.system')), "model.neck must be an object with a 'type'"),
    (lambda c: c['model'].update(type='VisionLanguageDecodeHead'), 'model'),
    (lambda c: c['model']['neck'].update(_delete_=True), 'neck._delete_ is unknown to CrossModalFPN'),
    (lambda c: c['model']['neck'].update(_scope_='mmseg'), 'neck._scope_ is unknown'),
    (lambda c: c['model']['neck'].update(extra=1), 'neck.extra is unknown'),
    (lambda c: c['model']['decode_head'].pop('type'), "decode_head must be an object with a 'type'"),
    (lambda c: c['model'].pop('neck'), 'model has no neck, which ReferringSegmentor needs'),
    (lambda c: c['model'].update(distillation=[dict(type='LMVSD')]), 'model.distillation .* is for training'),
    (lambda c: c['model'].update(init_cfg=dict(type='Pretrained', checkpoint='http://x')), 'model.init_cfg'),
    (lambda c: c['model']['backbone'].update(pretrained='openai'), "backbone.pretrained is 'openai', .* for training"),
    (lambda c: c['model']['decode_head'].update(loss_decode=dict(type='torch.X')), 'loss_decode .* for training'),
    (lambda c: c['model'].update(threshold=0.5), 'model.threshold stands beside threshold'),
    (lambda c: c['model']['backbone'].update(architecture='hf-hub:evil/model'), 'architecture is .hf-hub:evil/model'),
    (lambda c: c['model']['backbone'].update(architecture='local-dir:/etc'), 'not a name that open_clip has'),
    (lambda c: c['model']['backbone'].update(architecture=7), 'architecture must be a name'),
    (lambda c: c['model']['backbone'].update(architecture=dict(embed_dim=8)), 'architecture has no vision_cfg'),
    (lambda c: c['model']['backbone'].update(architecture=dict(architecture(), hook='x')), 'architecture.hook is unk'),
    (lambda c: c['model']['backbone'].update(architecture=with_vision(code='x')), 'vision_cfg.code is unknown'),
    (
        lambda c: c['model']['backbone'].update(architecture=with_vision(timm_model_pretrained=True)),
        'timm_model_pretrained would fetch weights',
    ),
    (
        lambda c: c['model']['backbone'].update(architecture=with_vision(timm_model_name='hf-hub:evil/model')),
        'timm_model_name is .hf-hub:evil/model., which timm has not',
    ),
    (
        lambda c: c['model']['text_encoder'].update(architecture=with_text(hf_model_name='/etc/model')),
        'hf_model_name must be a name on the Hugging Face hub',
    ),
    (
        lambda c: c['model']['text_encoder'].update(architecture=with_text(hf_model_pretrained=True)),
        'hf_model_pretrained would fetch weights',
    ),
    (
        lambda c: c['model'].update(text_encoder=dict(type='HuggingFaceTextEncoder', name_or_path='evil/model')),
        'name_or_path must be the settings',
    ),
    (
        lambda c: c['model'].update(
            text_encoder=dict(
                type='HuggingFaceTextEncoder', name_or_path=dict(model_type='bert', attn_implementation='evil/kernel')
            )
        ),
        'name_or_path.attn_implementation is unknown',
    ),
    (
        lambda c: c['model'].update(
            text_encoder=dict(type='HuggingFaceTextEncoder', name_or_path=dict(model_type='bert', auto_map={}))
        ),
        'name_or_path.auto_map is unknown',
    ),
    (
        lambda c: c['model'].update(
            text_encoder=dict(type='HuggingFaceTextEncoder', name_or_path=dict(model_type='evil'))
        ),
        'model_type is .evil., which transformers does not know',
    ),
    (
        lambda c: c['model'].update(
            backbone=dict(
                type='ImageBackboneAdapter',
                backbone=dict(type='TimmBackbone', name='resnet18', checkpoint_path='/tmp/x.pth'),
            )
        ),
        'backbone.backbone.checkpoint_path is unknown to TimmBackbone',
    ),
    (lambda c: c['model'].update(backbone=nested(20)), "must be an object with a 'type'"),
    (lambda c: c['pipeline'][4].update(tokenizer='evil/tokenizer'), 'tokenizer is .evil/tokenizer., which is not'),
    (lambda c: c['pipeline'][4].update(tokenizer='ViT-B-16-SigLIP2'), "must lie in the folder as 'tokenizer'"),
    (lambda c: c['pipeline'][4].update(tokenizer='../..'), 'tokenizer is .\\.\\./\\.\\..'),
    (lambda c: c['pipeline'][4].update(tokenizer='tokenizer'), 'tokenizer does not exist: the tokenizer lies there'),
    (
        lambda c: c['pipeline'][0].update(backend_args=dict(backend='petrel')),
        "backend_args must be an object with a 't",
    ),
    (lambda c: c['pipeline'][0].update(type='mmcv.LoadImageFromFile'), r'pipeline\[0\].type is'),
    (lambda c: c['pipeline'][0].update(type='CrossModalFPN'), r'pipeline\[0\].type is'),
    (lambda c: c.update(pipeline=[]), 'pipeline must be a list of steps'),
    (lambda c: c.update(pipeline=['LoadReferringImage']), r'pipeline\[0\] must be an object'),
    (lambda c: c.update(model='ReferringSegmentor'), 'model must be an object'),
    (lambda c: c.update(threshold='0.35'), r'threshold must be a number in \[0, 1\)'),
    (lambda c: c.update(threshold=True), 'threshold must be a number'),
    (lambda c: c.update(threshold=1.5), 'threshold must be a number'),
    (lambda c: c.update(custom_imports=dict(imports=['os'])), "the unknown key 'custom_imports'"),
    (lambda c: c.update(_base_='/etc/passwd'), "the unknown key '_base_'"),
    (lambda c: c.pop('threshold'), 'has no threshold'),
    (lambda c: c.update(format_version=2), 'format_version 2, and this cmmasksd reads 1: install'),
    (lambda c: c.pop('format_version'), 'not the config of a model published by cmmasksd'),
]


@pytest.mark.parametrize(('change', 'message'), CASES, ids=range(len(CASES)))
def test_what_is_not_plainly_ours_is_refused(
    folder: Path, change: Change, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, 'Popen', None)  # nothing is run
    monkeypatch.setattr('os.system', None)
    content = json.loads((folder / 'config.json').read_text())
    change(content)
    (folder / 'config.json').write_text(json.dumps(content))
    with pytest.raises(PublishedError, match=message) as caught:
        read_published(folder)
    assert str(folder) in str(caught.value) and len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (b'', 'is no plain JSON'),
        (b'{"format_version": 1', 'is no plain JSON'),
        (b'\xff\xfe{}', 'is no plain JSON'),
        (b'[' * 100_000, 'is no plain JSON'),
        (b'{"format_version": 1, "threshold": NaN}', 'NaN is no number of JSON'),
        (b'{"format_version": 1, "format_version": 1}', "'format_version' stands twice"),
        (b'[1]', 'not the config of a model published by cmmasksd'),
        (b'{"model_type": "bert"}', 'not the config of a model published by cmmasksd'),
        (b'{"format_version": 1, "model": "' + b'x' * 2**20 + b'"}', 'which no config of a model has'),
        (b'model = dict(type="os.system")', 'is no plain JSON'),
    ],
    ids=range(10),
)
def test_what_is_no_plain_json_is_refused(folder: Path, text: bytes, message: str) -> None:
    (folder / 'config.json').write_bytes(text)
    with pytest.raises(PublishedError, match=message):
        read_published(folder)


def test_what_we_publish_is_taken(folder: Path) -> None:
    config, weights = read_published(folder)
    assert config.model.threshold == 0.25 and config.default_scope == 'cmmasksd'
    assert [step.type for step in config.test_dataloader.dataset.pipeline][0] == 'LoadReferringImage'
    assert weights == folder / 'model.safetensors'


def test_types_with_our_scope_and_nulls_are_taken(folder: Path) -> None:
    content = json.loads((folder / 'config.json').read_text())
    content['model']['neck']['type'] = 'cmmasksd.CrossModalFPN'
    content['model']['backbone'].update(pretrained=None, activation_checkpointing=False)
    content['pipeline'][4]['tokenizer'] = None
    (folder / 'config.json').write_text(json.dumps(content))
    assert read_published(folder).config.model.neck.type == 'cmmasksd.CrossModalFPN'
