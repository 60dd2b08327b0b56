"""BERT and its relatives by transformers, built from configs without weights or a network."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from cmmasksd.models import HuggingFaceTextEncoder
from tests.test_models.open_clip_towers import randomise

transformers = pytest.importorskip('transformers')

WIDTHS = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, vocab_size=600)
BERT: dict[str, Any] = dict(model_type='bert', **WIDTHS)
MODELS: dict[str, tuple[dict[str, Any], list[int], int]] = {
    'BERT': (BERT, [101, 300, 400, 102], 0),
    'RoBERTa': (dict(model_type='roberta', pad_token_id=1, **WIDTHS), [0, 300, 400, 2], 1),
    'XLM-RoBERTa': (dict(model_type='xlm-roberta', pad_token_id=1, **WIDTHS), [0, 300, 400, 2], 1),
    'ELECTRA': (dict(model_type='electra', embedding_size=16, **WIDTHS), [101, 300, 400, 102], 0),
    'DistilBERT': (
        dict(model_type='distilbert', dim=32, n_layers=2, n_heads=4, hidden_dim=64, vocab_size=600),
        [101, 300, 400, 102],
        0,
    ),
    'T5': (
        dict(model_type='t5', d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, vocab_size=600),
        [300, 400, 1],
        0,
    ),
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch) -> None:
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)


def rows(row: list[int], pad: int, length: int = 9) -> torch.Tensor:
    return torch.tensor(
        [each + [pad] * (length - len(each)) for each in (row, [*row[:-1], 500, 501, row[-1]], [*row[:-2], row[-1]])]
    )


@pytest.mark.parametrize('name', MODELS)
@torch.no_grad()
def test_words_are_the_last_hidden_states(name) -> None:
    config, row, pad = MODELS[name]
    torch.manual_seed(0)
    ours = HuggingFaceTextEncoder(config, joint_channels=8).eval()
    ids = rows(row, pad)
    features = ours(ids)
    hidden = ours.encoder(input_ids=ids, attention_mask=(ids != pad).long()).last_hidden_state
    attended = (ids != pad)[..., None]
    torch.testing.assert_close(features.words * attended, hidden * attended, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(features.tokens, ours.token_projection(features.words))
    if name == 'T5':
        whole = torch.stack([one[: int(mask.sum())].mean(dim=0) for one, mask in zip(hidden, attended)])
    else:
        whole = hidden[:, 0]
    torch.testing.assert_close(features.sentence, ours.sentence_projection(whole), rtol=1e-4, atol=1e-5)
    assert ours.out_channels == 8 and features.words.shape == (3, 9, ours.word_channels)
    assert ours.embed_text(ids).shape == (3, 9, ours.embed_dims) == (3, 9, 16 if name == 'ELECTRA' else 32)


@pytest.mark.parametrize('name', MODELS)
@torch.no_grad()
def test_words_padding_and_lengths(name) -> None:
    config, row, pad = MODELS[name]
    ours = randomise(HuggingFaceTextEncoder(config, joint_channels=8)).eval()
    ids = rows(row, pad)
    features, short = ours(ids), ours(ids[:, :7])
    first = int(name != 'T5')
    assert [each.nonzero()[:, 0].tolist() for each in features.word_tokens] == [
        list(range(first, first + count)) for count in (2, 4, 1)
    ]
    assert [int(each.sum()) for each in features.padding] == [9 - len(row), 7 - len(row), 10 - len(row)]
    torch.testing.assert_close(short.sentence, features.sentence, rtol=1e-4, atol=1e-5)
    masked = ours.embed_text(ids)
    torch.testing.assert_close(masked[0, first], masked[1, first])  # without positions
    masked[0, first] = 0.5
    changed = ours.encode_text(masked, ids)
    assert not torch.allclose(changed.sentence[0], features.sentence[0])
    torch.testing.assert_close(changed.sentence[1:], features.sentence[1:])


@pytest.mark.parametrize('checkpointing', [False, True])
@pytest.mark.parametrize('name', MODELS)
def test_every_parameter_has_a_gradient(name, checkpointing) -> None:
    config, row, pad = MODELS[name]
    ours = HuggingFaceTextEncoder(config, joint_channels=8, activation_checkpointing=checkpointing).train()
    features = ours(rows(row, pad))
    (features.tokens.square().sum() + features.sentence.square().sum()).backward()
    assert not [name for name, p in ours.named_parameters() if p.grad is None or not p.grad.isfinite().all()]


def test_bert_base_without_a_network() -> None:
    with torch.device('meta'):
        ours = HuggingFaceTextEncoder(dict(model_type='bert'))
    assert (ours.embed_dims, ours.word_channels, ours.max_tokens) == (768, 768, 512)
    assert sum(p.numel() for p in ours.encoder.parameters()) == 108_891_648  # bert-base-uncased without its pooler


@torch.no_grad()
def test_weights_from_a_folder(tmp_path) -> None:
    model = randomise(transformers.AutoModel.from_config(transformers.AutoConfig.for_model(**BERT))).eval()
    model.save_pretrained(tmp_path)  # safetensors
    ours = HuggingFaceTextEncoder(str(tmp_path), joint_channels=8, pretrained=str(tmp_path)).eval()
    ids = rows([101, 300, 400, 102], 0)
    expected = model(input_ids=ids, attention_mask=(ids != 0).long()).last_hidden_state
    assert not torch.allclose(ours(ids).words, expected)
    ours.init_weights()
    torch.testing.assert_close(ours(ids).words[0, :4], expected[0, :4], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_weights_of_a_language_model_head_serve_too(tmp_path) -> None:
    model = randomise(transformers.AutoModelForMaskedLM.from_config(transformers.AutoConfig.for_model(**BERT)))
    model.eval().save_pretrained(tmp_path)
    ours = HuggingFaceTextEncoder(str(tmp_path), joint_channels=8, pretrained=str(tmp_path)).eval()
    ours.init_weights()
    ids = rows([101, 300, 400, 102], 0)
    expected = model.bert(input_ids=ids, attention_mask=(ids != 0).long()).last_hidden_state
    torch.testing.assert_close(ours(ids).words[0, :4], expected[0, :4], rtol=1e-4, atol=1e-5)


def test_weights_that_cannot_be(tmp_path) -> None:
    pickled = tmp_path / 'pickled'
    transformers.AutoConfig.for_model(**BERT).save_pretrained(pickled)
    model = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(**BERT))
    torch.save(model.state_dict(), pickled / 'pytorch_model.bin')
    with pytest.raises(ValueError, match=r"gives no weights of 'bert' as safetensors.*model\.safetensors"):
        HuggingFaceTextEncoder(BERT, pretrained=str(pickled)).init_weights()
    with pytest.raises(ValueError, match='gives no weights'):
        HuggingFaceTextEncoder(BERT, pretrained=str(tmp_path / 'nowhere')).init_weights()
    model.save_pretrained(tmp_path / 'shallow')
    for change in (dict(num_hidden_layers=3), dict(hidden_size=64)):
        with pytest.raises(ValueError, match=r'of one model|gives no weights') as caught:
            HuggingFaceTextEncoder({**BERT, **change}, pretrained=str(tmp_path / 'shallow')).init_weights()
        assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ('name_or_path', 'message'),
    [
        ('/no/such/folder', r'/no/such/folder. has no config of transformers.*config\.json'),
        ('no-such-model-anywhere', 'where there is a network'),
        (dict(model_type='bret'), 'bret.*has no config of transformers'),
        (dict(model_type='gpt2', n_layer=1, n_embd=32, n_head=4), 'reads from left to right alone'),
        (dict(model_type='vit', num_hidden_layers=1), 'no model of texts'),
    ],
)
def test_models_that_cannot_be(name_or_path, message) -> None:
    with pytest.raises(ValueError, match=message):
        HuggingFaceTextEncoder(name_or_path)


def test_more_tokens_than_positions(tmp_path) -> None:
    (tmp_path / 'config.json').write_text(json.dumps(dict(BERT, max_position_embeddings=16)))
    ours = HuggingFaceTextEncoder(str(tmp_path))
    with pytest.raises(ValueError, match='17 tokens, but HuggingFaceTextEncoder .* has 16 positions: lower'):
        ours(torch.full((1, 17), 300))
    roberta = HuggingFaceTextEncoder(dict(model_type='roberta', pad_token_id=1, max_position_embeddings=18, **WIDTHS))
    assert roberta.max_tokens == 16
    roberta(torch.full((1, 16), 300))


@torch.no_grad()
def test_without_a_joint_width_sentence_and_tokens_stay_in_the_words_space() -> None:
    torch.manual_seed(0)
    ours = HuggingFaceTextEncoder(BERT, joint_channels=None).eval()
    features = ours(rows([101, 300, 400, 102], 0))
    assert ours.out_channels == ours.word_channels == 32
    assert features.tokens is features.words and torch.equal(features.sentence, features.words[:, 0])
    assert not [name for name in ours.state_dict() if 'projection' in name]
