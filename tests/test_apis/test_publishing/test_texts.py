"""Tokenizers and language models of Hugging Face travel in the folder, and need no network and none of its files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cmmasksd.apis import ReferringInferencer
from cmmasksd.apis.publishing import write_published
from cmmasksd.published import PublishedError, read_published
from tests.published_models import make_config, save_checkpoint
from tests.test_apis.test_publishing.test_writing import answers
from tests.tokenizer_folders import bert_like

BERT = dict(
    model_type='bert', vocab_size=120, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
    max_position_embeddings=40,
)  # fmt: skip


@pytest.fixture(scope='module')
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with BERT from a folder of its own, which is gone once the model is published; beside its answers."""
    root = tmp_path_factory.mktemp('texts')
    source = Path(bert_like(root / 'bert'))
    (source / 'config.json').write_text(json.dumps(BERT))
    encoder = dict(type='HuggingFaceTextEncoder', name_or_path=str(source), pretrained=str(source), joint_channels=8)
    cfg = make_config(encoder, tokenizer=str(source))
    save_checkpoint(cfg, root / 'epoch_1.pth')
    np.save(root / 'before.npy', answers(ReferringInferencer(cfg, root / 'epoch_1.pth', device='cpu')))
    written = write_published(root / 'epoch_1.pth', root / 'model', cfg)
    shutil.rmtree(source)
    return written


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / 'model'))


def test_they_travel(folder: Path, published: Path) -> None:
    text = (folder / 'config.json').read_text()
    content = json.loads(text)
    assert content['pipeline'][4]['tokenizer'] == 'tokenizer' and str(published.parent) not in text
    assert content['model']['text_encoder']['name_or_path']['hidden_size'] == 8
    inferencer = ReferringInferencer.from_pretrained(folder, device='cpu')
    assert np.array_equal(answers(inferencer), np.load(published.parent / 'before.npy'))


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('tokenization_evil.py', 'import os', 'is no file of a tokenizer'),
        ('vocab.pkl', 'x', 'is no file of a tokenizer'),
        ('tokenizer_config.json', '{"auto_map": {"AutoTokenizer": ["evil.Evil", null]}}', 'asks for code'),
        ('tokenizer_config.json', '{', 'is no JSON'),
        ('open_clip_config.json', '{"model_cfg": {"text_cfg": {"hf_model_name": "evil"}}}', 'says more of a tokenizer'),
        (
            'open_clip_config.json',
            '{"model_cfg": {"text_cfg": {"tokenizer_kwargs": {"trust_remote_code": true}}}}',
            'says more of a tokenizer',
        ),
        ('open_clip_config.json', '{"model_cfg": {"text_cfg": 7}}', 'says more of a tokenizer'),
    ],
)
def test_a_tokenizer_is_texts_and_vocabularies_alone(folder: Path, name: str, text: str, message: str) -> None:
    (folder / 'tokenizer' / name).write_text(text)
    with pytest.raises(PublishedError, match=message):
        read_published(folder)


def test_cleaning_of_open_clip_travels(tmp_path: Path) -> None:
    source = Path(bert_like(tmp_path / 'bert'))
    text = dict(hf_tokenizer_name='x', context_length=16, vocab_size=120, tokenizer_kwargs=dict(clean='canonicalize'))
    (source / 'open_clip_config.json').write_text(json.dumps(dict(model_cfg=dict(text_cfg=text, vision_cfg={}))))
    encoder = dict(type='HuggingFaceTextEncoder', name_or_path=BERT, joint_channels=8)
    cfg = make_config(encoder, tokenizer=str(source))
    save_checkpoint(cfg, tmp_path / 'epoch_1.pth')
    folder = write_published(tmp_path / 'epoch_1.pth', tmp_path / 'model', cfg)
    shutil.rmtree(source)
    inferencer = ReferringInferencer.from_pretrained(folder, device='cpu')
    tokenize = next(step for step in inferencer.pipeline.transforms if type(step).__name__ == 'TokenizeExpressions')
    one, two = tokenize(dict(texts=['Left, ZEBRA!', 'left zebra']))['input_ids']
    assert np.array_equal(one, two)
