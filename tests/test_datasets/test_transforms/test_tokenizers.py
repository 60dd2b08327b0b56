"""Tokenizers by name: open_clip's models, local folders, and what is said where one cannot be had."""

from __future__ import annotations

import builtins
import json
import pickle

import numpy as np
import open_clip
import pytest

from cmmasksd.datasets.transforms import TokenizeExpressions
from cmmasksd.datasets.transforms.tokenizers import get_tokenizer

pytest.importorskip('transformers')
from tests.tokenizer_folders import bert_like, roberta_like, t5_like

FOLDERS = {'T5': t5_like, 'BERT': bert_like, 'RoBERTa': roberta_like}
SENTENCES = ['left zebra', 'the man in a red shirt', 'zebra ' * 200, 'Tree!']


@pytest.fixture(scope='module')
def folders(tmp_path_factory) -> dict[str, str]:
    return {name: make(tmp_path_factory.mktemp(name)) for name, make in FOLDERS.items()}


@pytest.fixture(autouse=True)
def no_network(monkeypatch) -> None:
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)


def tokens(tokenizer: str | None, texts: list[str], length: int = 16) -> np.ndarray:
    return TokenizeExpressions(length, tokenizer).transform(dict(texts=texts))['input_ids']


@pytest.mark.parametrize('name', FOLDERS)
def test_a_folder_gives_what_open_clips_wrapper_gives(folders, name) -> None:
    theirs = open_clip.tokenizer.HFTokenizer(folders[name], context_length=16)(SENTENCES).numpy()
    assert np.array_equal(tokens(folders[name], SENTENCES), theirs)


@pytest.mark.parametrize(('name', 'end'), [('T5', 1), ('BERT', 3), ('RoBERTa', 2)])
def test_a_long_expression_is_cut_and_keeps_its_end(folders, name, end) -> None:
    row = tokens(folders[name], ['zebra ' * 200])[0]
    assert row.shape == (16,) and row[-1] == end and (row[1:-1] != end).all()


@pytest.mark.parametrize(('name', 'typed'), [('T5', '</s>'), ('T5', '<pad>'), ('BERT', '[SEP]'), ('RoBERTa', '</s>')])
def test_special_tokens_that_are_typed_are_characters_like_others(folders, name, typed) -> None:
    examples = get_tokenizer(folders[name])
    ids, words, _ = examples.encode(f'cat {typed} dog', 64)
    plain, _, _ = examples.encode('cat', 64)
    special = {each for each, word in zip(*examples.encode('cat', 64)[:2]) if not word}
    assert not special & {each for each, word in zip(ids, words) if word}
    assert len(ids) > len(plain) + 2


@pytest.mark.parametrize(('name', 'special'), [('T5', 1), ('BERT', 2), ('RoBERTa', 2)])
def test_words_and_special_tokens(folders, name, special) -> None:
    transform = TokenizeExpressions(16, folders[name])
    examples = transform.examples()
    assert examples.input_ids.shape == examples.word_tokens.shape == (3, 16)
    first, first_words = examples.input_ids[0], examples.word_tokens[0]
    pad = get_tokenizer(folders[name]).pad
    assert first_words.sum() == (first != pad).sum() - special
    assert first_words[0] == (name == 'T5')
    assert examples.word_tokens[2].sum() == 16 - special  # cut
    with pytest.raises(ValueError, match=rf'whole number from {special + 1} to 512, got {special}'):
        TokenizeExpressions(special, folders[name])


@pytest.mark.parametrize('name', FOLDERS)
def test_a_blank_expression_is_an_error(folders, name) -> None:
    with pytest.raises(ValueError, match=r'a\.jpg.*empty'):
        TokenizeExpressions(16, folders[name]).transform(dict(img_path='a.jpg', texts=['  ']))


def test_transforms_travel_to_workers_by_name(folders) -> None:
    transform = pickle.loads(pickle.dumps(TokenizeExpressions(16, folders['BERT'])))
    assert np.array_equal(transform.transform(dict(texts=SENTENCES))['input_ids'], tokens(folders['BERT'], SENTENCES))


def test_a_folder_of_an_open_clip_model_is_cleaned_as_its_config_says(folders, tmp_path) -> None:
    folder = t5_like(tmp_path)
    config = open_clip.get_model_config('ViT-B-16-SigLIP2')
    (tmp_path / 'open_clip_config.json').write_text(json.dumps(dict(model_cfg=config)))
    transform = TokenizeExpressions(64, folder)
    ids = transform.transform(dict(texts=['Left, ZEBRA!']))['input_ids']
    assert np.array_equal(ids, transform.transform(dict(texts=['left zebra']))['input_ids'])
    assert transform.examples().model_vocab_size == 256000
    with pytest.raises(ValueError, match='from 2 to 64, got 65'):
        TokenizeExpressions(65, folder)


@pytest.mark.parametrize(
    ('name', 'longest'),
    [('ViT-B-16', 77), ('PE-Core-L-14-336', 32), ('coca_ViT-B-32', 76), ('MobileCLIP-B', 77), ('EVA02-L-14', 77)],
)
def test_models_that_read_clips_byte_pairs(name, longest) -> None:
    assert np.array_equal(tokens(name, SENTENCES, 17), tokens(None, SENTENCES, 17))
    with pytest.raises(ValueError, match=f'from 3 to {longest}, got {longest + 1}'):
        TokenizeExpressions(longest + 1, name)


def test_every_model_of_open_clip_has_a_tokenizer_or_says_how_to_get_it(monkeypatch) -> None:
    """None is fetched here: those on the hub are asked for by the repository that the config names."""
    asked = []

    def fetch(name, *arguments, **options):
        asked.append(name)
        raise OSError('offline')

    monkeypatch.setattr('transformers.AutoTokenizer.from_pretrained', fetch)
    clips = 0
    for name in open_clip.list_models():
        repository = open_clip.get_model_config(name)['text_cfg'].get('hf_tokenizer_name')
        if repository is None:
            clips += isinstance(get_tokenizer(name).pad, int)
            continue
        with pytest.raises(ValueError, match=f"tokenizer '{name}' could not be read from the hub's '{repository}'"):
            get_tokenizer(name)
        assert asked[-1] == repository
    assert (clips, len(asked)) == (95, 49)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('/no/such/folder', 'is no folder: give the folder'),
        ('./nothing', 'is no folder: give the folder'),
        ('ViT-B-61', 'could not be read from a folder or the hub .*list_models'),
        ('ViT-B-16-SigLIP2', 'hf download timm/ViT-B-16-SigLIP2 --local-dir FOLDER'),
        ('EMPTY', 'could not be read from a folder or the hub'),
    ],
)
def test_tokenizers_that_cannot_be_had(name, message, tmp_path) -> None:
    with pytest.raises(ValueError, match=message):
        TokenizeExpressions(16, str(tmp_path) if name == 'EMPTY' else name)


def test_a_tokenizer_without_padding(tmp_path) -> None:
    folder = t5_like(tmp_path)
    settings = json.loads((tmp_path / 'tokenizer_config.json').read_text())
    del settings['pad_token']
    (tmp_path / 'tokenizer_config.json').write_text(json.dumps(settings))
    with pytest.raises(ValueError, match='no token of padding.*set pad_token'):
        TokenizeExpressions(16, folder)


def test_without_transformers(folders, monkeypatch) -> None:
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name == 'transformers':
            raise ImportError(name)
        return real(name, *arguments, **options)

    get_tokenizer.cache_clear()
    monkeypatch.setattr(builtins, '__import__', without)
    with pytest.raises(ImportError, match=r"needs Hugging Face's transformers.*cmmasksd\[transformers\]"):
        TokenizeExpressions(16, folders['BERT'])
