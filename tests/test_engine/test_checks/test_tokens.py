"""Configs whose tokenizer and text encoder disagree are refused before anything is computed."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from torch import nn

from cmmasksd.apis import ReferringInferencer
from cmmasksd.engine.checks import check_tokens
from cmmasksd.registry import MODELS
from tests.test_models.open_clip_towers import small_config

pytest.importorskip('transformers')
from tests.tokenizer_folders import bert_like, roberta_like, t5_like

FOLDERS = {'T5': t5_like, 'BERT': bert_like, 'RoBERTa': roberta_like}
WIDTHS = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64, vocab_size=600)
TOWERS: dict[str, dict[str, Any]] = {
    'CLIP': dict(type='cmmasksd.OpenCLIPTextTransformer', architecture=small_config('ViT-B-16-quickgelu')),
    'SigLIP': dict(
        type='cmmasksd.OpenCLIPTextTransformer', architecture=small_config('ViT-B-16-SigLIP', vocab_size=600)
    ),
    'SigLIP 2': dict(type='cmmasksd.OpenCLIPTextTransformer', architecture=small_config('ViT-SO400M-14-SigLIP2')),
    'worldwide': dict(type='cmmasksd.OpenCLIPTextTransformer', architecture=small_config('ViT-L-14-worldwide')),
    'PE': dict(type='cmmasksd.OpenCLIPTextTransformer', architecture=small_config('PE-Core-B-16')),
    'BERT': dict(type='cmmasksd.HuggingFaceTextEncoder', name_or_path=dict(model_type='bert', **WIDTHS)),
    'RoBERTa': dict(
        type='cmmasksd.HuggingFaceTextEncoder', name_or_path=dict(model_type='roberta', pad_token_id=1, **WIDTHS)
    ),
}
WORDS = 'disagree on which tokens are words'


@pytest.fixture(scope='module')
def folders(tmp_path_factory) -> dict[str, str]:
    return {name: make(tmp_path_factory.mktemp(name)) for name, make in FOLDERS.items()}


def check(tower: str, tokenizer: str | None, length: int, folders: dict[str, str]) -> None:
    model = nn.Module()
    with torch.device('meta'):
        model.text_encoder = MODELS.build(copy.deepcopy(TOWERS[tower]))
    step = dict(type='TokenizeExpressions', token_length=length, tokenizer=folders.get(tokenizer or '', tokenizer))
    check_tokens(Config(dict(train_dataloader=dict(dataset=dict(pipeline=[step])))), model)


@pytest.mark.parametrize(
    ('tower', 'tokenizer', 'length'),
    [
        ('CLIP', None, 17),
        ('CLIP', 'ViT-B-16', 77),
        ('CLIP', 'PE-Core-B-16', 32),
        ('PE', None, 17),
        ('SigLIP', 'T5', 64),
        ('SigLIP 2', 'T5', 64),
        ('worldwide', 'T5', 17),
        ('BERT', 'BERT', 17),
        ('RoBERTa', 'RoBERTa', 17),
    ],
)
def test_pairs_that_fit(folders, tower, tokenizer, length) -> None:
    check(tower, tokenizer, length, folders)


@pytest.mark.parametrize(
    ('tower', 'tokenizer', 'length', 'message'),
    [
        ('PE', None, 33, '33 tokens, but the text tower.* has 32 positions: lower'),
        ('SigLIP', 'T5', 17, '17 tokens, but the text tower.* attends to all of its 64 .*token_length=64'),
        ('SigLIP', None, 64, r"CLIP's tokenizer has 49408 tokens, but the text tower.* knows 600: set .*\.tokenizer"),
        ('SigLIP 2', None, 64, WORDS),
        ('SigLIP 2', 'BERT', 64, WORDS),
        ('CLIP', 'T5', 17, WORDS),
        ('CLIP', 'BERT', 17, WORDS),
        ('CLIP', 'RoBERTa', 17, WORDS),
        ('BERT', None, 17, 'knows 600'),
        ('BERT', 'T5', 17, WORDS),
        ('BERT', 'RoBERTa', 17, WORDS),
        ('RoBERTa', 'BERT', 17, WORDS),
        ('worldwide', None, 17, WORDS),
    ],
)
def test_pairs_that_do_not(folders, tower, tokenizer, length, message) -> None:
    with pytest.raises(ValueError, match=f'train_dataloader: .*{message}'):
        check(tower, tokenizer, length, folders)


def test_a_tokenizer_of_another_model_of_the_same_kind(folders, tmp_path) -> None:
    """SigLIP's and SigLIP 2's end alike, so that only the vocabularies of their models tell them apart."""
    folder = Path(t5_like(tmp_path))
    model = Config(dict(model_cfg=dict(small_config('ViT-B-16-SigLIP'))))
    model.dump(folder / 'open_clip_config.json')
    check('SigLIP', 'T5', 64, folders)
    with pytest.raises(ValueError, match='is that of a model with 32000 tokens, but the text tower.* knows 256000'):
        check('SigLIP 2', str(folder), 64, folders)


def test_every_loader_is_looked_at_and_wrapped_data_sets_too() -> None:
    model = nn.Module()
    with torch.device('meta'):
        model.text_encoder = MODELS.build(copy.deepcopy(TOWERS['PE']))
    fits, long = (dict(type='TokenizeExpressions', token_length=length) for length in (17, 40))
    wrapped = dict(type='ConcatDataset', datasets=[dict(pipeline=[fits]), dict(pipeline=[long])])
    cfg = Config(dict(train_dataloader=dict(dataset=dict(pipeline=[fits])), test_dataloader=dict(dataset=wrapped)))
    with pytest.raises(ValueError, match='^test_dataloader: 40 tokens'):
        check_tokens(cfg, model)
    check_tokens(cfg, model, loaders=('train_dataloader',))


def test_an_inferencer_is_refused_too(tiny_config) -> None:
    steps = [
        dict(type='LoadReferringImage'),
        dict(type='LetterboxResize', size=(32, 48), resize_masks=False),
        dict(type='TokenizeExpressions', token_length=17),
        dict(type='PackReferringInputs'),
    ]
    model = tiny_config()
    model['text_encoder']['architecture'] = dict(
        model['text_encoder']['architecture'], text_cfg=dict(context_length=16, layers=1, width=24, heads=3)
    )
    with pytest.raises(ValueError, match='test_dataloader: 17 tokens, but the text tower.* has 16 positions'):
        ReferringInferencer(Config(dict(model=model, test_dataloader=dict(dataset=dict(pipeline=steps)))), device='cpu')


def test_tokens_inside_test_time_augmentation_are_looked_at_too(folders) -> None:
    model = nn.Module()
    model.text_encoder = MODELS.build(copy.deepcopy(TOWERS['CLIP']))
    inner = dict(type='TokenizeExpressions', token_length=17, tokenizer=folders['T5'])
    views = dict(type='mmcv.TestTimeAug', transforms=[[dict(type='FlipWithSentence', prob=1)], [inner]])
    cfg = Config(dict(test_dataloader=dict(dataset=dict(pipeline=[dict(type='LoadReferringImage'), views]))))
    with pytest.raises(ValueError, match=f'test_dataloader: .*{WORDS}'):
        check_tokens(cfg, model)
