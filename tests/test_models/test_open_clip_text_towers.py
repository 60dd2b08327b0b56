"""Every text tower of open_clip: its sentence equals open_clip's own, or it is refused with the reason."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor, nn

from cmmasksd.models import OpenCLIPTextTransformer
from cmmasksd.structures import TextFeatures
from tests.test_models.open_clip_towers import JOINT, open_clips_model, small_config

SOT, EOT = 49406, 49407
CLIP_ROW = [SOT, 320, 0, 512, EOT]  # "!" in the middle has the id of padding
# family -> a model of it, a row of ids without its padding, the padding's id, and the places of its words
FAMILIES: dict[str, tuple[str, list[int], int, list[int]]] = {
    'CLIP': ('ViT-B-16-quickgelu', CLIP_ROW, 0, [1, 2, 3]),
    'CoCa': ('coca_ViT-B-32', CLIP_ROW, 0, [1, 2, 3]),
    'MobileCLIP': ('MobileCLIP-B', CLIP_ROW, 0, [1, 2, 3]),
    'MobileCLIP2': ('MobileCLIP2-L-14', CLIP_ROW, 0, [1, 2, 3]),
    'PE': ('PE-Core-B-16', CLIP_ROW, 0, [1, 2, 3]),
    'SigLIP': ('ViT-B-16-SigLIP', [300, 2, 500, 1], 1, [0, 1, 2]),
    'SigLIP without a projection': ('ViT-SO400M-16-SigLIP-i18n-256', [300, 40, 500, 1], 1, [0, 1, 2]),
    'SigLIP 2': ('ViT-SO400M-14-SigLIP2', [300, 40, 500, 1], 0, [0, 1, 2]),
    'CLIPA': ('ViT-L-14-CLIPA', [101, 300, 400, 0], 0, [1, 2]),
    'worldwide, mT5': ('ViT-L-14-worldwide', [300, 400, 1], 0, [0, 1]),
    'worldwide, XLM': ('ViT-H-14-worldwide', [0, 300, 400, 2], 1, [1, 2]),
}
BIDIRECTIONAL = {'MobileCLIP2', 'SigLIP', 'SigLIP without a projection', 'SigLIP 2', 'CLIPA'}


def pair(family: str) -> tuple[nn.Module, OpenCLIPTextTransformer, Tensor]:
    """open_clip's model of a family, our text tower with the same weights, and ids of the tower's own length."""
    name, row, pad, _ = FAMILIES[family]
    config = small_config(name, vocab_size=600 if name not in CLIPS else None)
    config['vision_cfg'] = dict(layers=1, width=16, head_width=8, image_size=16, patch_size=16)
    if 'multimodal_cfg' in config:
        config['vision_cfg'] |= dict(attentional_pool=True, attn_pooler_heads=4, output_tokens=True)
    torch.manual_seed(0)
    clip = open_clips_model(config, 16)
    ours = OpenCLIPTextTransformer(config).eval()
    state = {name.removeprefix('text.'): tensor for name, tensor in clip.state_dict().items()}
    ours.load_state_dict(ours.select_weights(state), strict=True)
    length = config['text_cfg'].get('context_length', 77)
    rows = [row, [*row[:2], *row[3:]], [*row[:-1], *row[1:-1], row[-1]]]
    return clip, ours, torch.tensor([each + [pad] * (length - len(each)) for each in rows])


CLIPS = {name for name, row, _, _ in FAMILIES.values() if EOT in row}


def sentence(clip: nn.Module, ids: Tensor) -> Tensor:
    return clip.encode_text(ids, normalize=False)


@pytest.mark.parametrize('family', FAMILIES)
@torch.no_grad()
def test_the_sentence_equals_open_clips(family) -> None:
    clip, ours, ids = pair(family)
    features = ours(ids)
    assert features.sentence.shape == (3, JOINT) and features.tokens.shape == (*ids.shape, JOINT)
    assert features.words.shape == (*ids.shape, ours.embed_dims)
    torch.testing.assert_close(features.sentence, sentence(clip, ids), rtol=1e-4, atol=1e-5)
    theirs = clip.forward_intermediates(text=ids, text_indices=1, normalize_intermediates=True)
    torch.testing.assert_close(features.words, theirs['text_intermediates'][0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('family', FAMILIES)
@torch.no_grad()
def test_words_and_padding(family) -> None:
    _, ours, ids = pair(family)
    _, row, _, words = FAMILIES[family]
    features = ours(ids)
    assert features.word_tokens[0].nonzero()[:, 0].tolist() == words
    assert features.padding[0].nonzero()[:, 0].tolist() == list(range(len(row), ids.shape[1]))
    assert not (features.padding & features.word_tokens).any()


@pytest.mark.parametrize('family', [family for family in FAMILIES if family not in BIDIRECTIONAL])
@pytest.mark.parametrize('length', [8, 9, 17])
@torch.no_grad()
def test_a_short_length_gives_the_same_features(family, length) -> None:
    """Also where a sentence fills it to the last token, as the third of CLIP's does 8 tokens."""
    _, ours, ids = pair(family)
    whole, short = ours(ids), ours(ids[:, :length])
    torch.testing.assert_close(short.sentence, whole.sentence, rtol=1e-4, atol=1e-5)
    for name in ('words', 'tokens', 'padding', 'word_tokens'):
        torch.testing.assert_close(getattr(short, name), getattr(whole, name)[:, :length], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('family', sorted(BIDIRECTIONAL))
def test_towers_that_look_both_ways_take_their_own_length_alone(family) -> None:
    _, ours, ids = pair(family)
    most = ids.shape[1]
    assert ours.min_tokens == ours.max_tokens == most
    with pytest.raises(ValueError, match=f'17 tokens, but the text tower attends to all of its {most} .*length={most}'):
        ours(ids[:, :17] if most > 17 else ids)
    with pytest.raises(ValueError, match=f'{most + 1} tokens, but the text tower has {most} positions: lower'):
        ours(torch.cat([ids, ids[:, -1:]], dim=1))


@pytest.mark.parametrize('family', FAMILIES)
@torch.no_grad()
def test_a_masked_word_changes_the_sentence_and_no_id(family) -> None:
    _, ours, ids = pair(family)
    embeddings = ours.embed_text(ids)
    torch.testing.assert_close(embeddings[:, 1:2], ours.embed_text(ids.roll(3, dims=1))[:, 4:5])  # without positions
    place = FAMILIES[family][3][0]
    masked = embeddings.clone()
    masked[0, place] = 0.5
    before, after = ours.encode_text(embeddings, ids), ours.encode_text(masked, ids)
    assert not torch.allclose(before.sentence[0], after.sentence[0]) and torch.equal(before.padding, after.padding)
    torch.testing.assert_close(before.sentence[1:], after.sentence[1:])


@pytest.mark.parametrize('family', FAMILIES)
@pytest.mark.parametrize('checkpointing', [False, True])
def test_every_parameter_has_a_gradient(family, checkpointing) -> None:
    _, plain, ids = pair(family)
    tower = OpenCLIPTextTransformer(plain.config, activation_checkpointing=checkpointing)
    features = tower.train()(ids)
    (features.tokens.square().sum() + features.sentence.square().sum()).backward()
    assert not [name for name, p in tower.named_parameters() if p.grad is None or not p.grad.isfinite().all()]


@torch.no_grad()
def test_bfloat16_autocast_of_a_class_token() -> None:
    _, ours, ids = pair('CoCa')
    with torch.autocast('cpu', dtype=torch.bfloat16):
        rough = ours(ids).sentence
    torch.testing.assert_close(rough.float(), ours(ids).sentence, rtol=0.1, atol=0.1)


# --- towers out of transformers ---------------------------------------------------------------------------------------

SMALL: dict[str, dict[str, Any]] = {
    'roberta-base': dict(model_type='roberta', pad_token_id=1, bos_token_id=0, eos_token_id=2, vocab_size=600),
    'xlm-roberta-base': dict(model_type='xlm-roberta', pad_token_id=1, vocab_size=600),
    'google/mt5-base': dict(model_type='mt5', d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, vocab_size=600),
    'facebook/nllb-200-distilled-600M': dict(
        model_type='m2m_100', d_model=32, encoder_layers=2, decoder_layers=1, encoder_attention_heads=4, vocab_size=600,
        encoder_ffn_dim=64, decoder_ffn_dim=64, decoder_attention_heads=4, max_position_embeddings=64,
    ),
}  # fmt: skip
WIDTHS = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64)
HUGGING_FACE = {
    'roberta-ViT-B-32': [0, 300, 400, 2],
    'coca_roberta-ViT-B-32': [0, 300, 400, 2],
    'xlm-roberta-base-ViT-B-32': [0, 300, 400, 2],
    'mt5-base-ViT-B-32': [300, 400, 1],
    'nllb-clip-base': [599, 300, 400, 2],
}


@pytest.fixture
def local(tmp_path, monkeypatch):
    """``local(name)``: the small config of a model whose text tower's config lies in a folder; no network."""
    pytest.importorskip('transformers')
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)

    def make(name: str) -> dict[str, Any]:
        config = small_config(name)
        settings = SMALL[config['text_cfg']['hf_model_name']]
        widths = WIDTHS if 'roberta' in settings['model_type'] else {}
        (tmp_path / 'config.json').write_text(json.dumps({**settings, **widths}))
        config['text_cfg']['hf_model_name'] = str(tmp_path)
        config['vision_cfg'] = dict(layers=1, width=16, head_width=8, image_size=16, patch_size=16, output_tokens=False)
        config.pop('multimodal_cfg', None)
        return config

    return make


@pytest.mark.parametrize('name', HUGGING_FACE)
@torch.no_grad()
def test_towers_out_of_transformers(local, name) -> None:
    config = local(name)
    config['text_cfg']['output_tokens'] = False
    clip = open_clips_model(config, 16)
    ours = OpenCLIPTextTransformer(config).eval()
    state = {name.removeprefix('text.'): tensor for name, tensor in clip.state_dict().items()}
    ours.load_state_dict(ours.select_weights(state), strict=True)
    row, pad = HUGGING_FACE[name], clip.text.config.pad_token_id
    rows = [row, [*row[:-1], 500, row[-1]]]
    ids = torch.tensor([each + [pad] * (9 - len(each)) for each in rows])
    features: TextFeatures = ours(ids)
    torch.testing.assert_close(features.sentence, clip.encode_text(ids), rtol=1e-4, atol=1e-5)
    assert features.tokens.shape == (2, 9, JOINT) and features.words.shape == (2, 9, 32)
    first = 0 if 'mt5' in name else 1
    assert features.word_tokens[0].nonzero()[:, 0].tolist() == [first, first + 1]
    assert features.padding[0].nonzero()[:, 0].tolist() == list(range(len(row), 9))
    short = ours(ids[:, :6])
    torch.testing.assert_close(short.sentence, features.sentence, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', HUGGING_FACE)
def test_every_parameter_of_theirs_has_a_gradient(local, name) -> None:
    for checkpointing in (False, True):
        tower = OpenCLIPTextTransformer(local(name), activation_checkpointing=checkpointing).train()
        features = tower(torch.tensor([HUGGING_FACE[name]]))
        (features.tokens.square().sum() + features.sentence.square().sum()).backward()
        assert not [name for name, p in tower.named_parameters() if p.grad is None or not p.grad.isfinite().all()]


def test_the_whole_list_of_open_clip(monkeypatch) -> None:
    """Each of the 144 is built and runs without numbers; those out of transformers want a config from the hub."""
    pytest.importorskip('transformers')
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    told: Counter = Counter()
    for name in open_clip.list_models():
        config = open_clip.get_model_config(name)
        if not config['text_cfg'].get('hf_model_name'):
            config['text_cfg']['layers'] = 1
        try:
            with torch.device('meta'):
                tower = OpenCLIPTextTransformer(config)
                features = tower(torch.zeros(2, tower.max_tokens, dtype=torch.long))
        except ValueError as error:
            assert config['text_cfg']['hf_model_name'] in str(error) and 'config.json' in str(error), name
            told['needs the hub'] += 1
            continue
        told['works'] += 1
        assert features.sentence.shape == (2, config['embed_dim']), name
        assert features.tokens.shape == (2, tower.max_tokens, config['embed_dim']), name
    assert told == {'works': 134, 'needs the hub': 10}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(pool_type='none'), 'pools nothing.*set pool_type'),
        (dict(proj_type='none'), "no projection, and its width 24 is not the joint space's 8.*proj_type='linear'"),
        (dict(heads=5), 'cannot be built'),
        (dict(widht=24), "cannot be built: .*'widht'"),
        (dict(hf_model_name='/no/such/folder'), r"'/no/such/folder' has no config of transformers.*config\.json"),
    ],
)
def test_configs_that_cannot_work(tiny_architecture, change, message) -> None:
    config = {**tiny_architecture, 'text_cfg': {**tiny_architecture['text_cfg'], **change}}
    with pytest.raises(ValueError, match=message):
        OpenCLIPTextTransformer(config)
