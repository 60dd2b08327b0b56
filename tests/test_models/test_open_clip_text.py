from __future__ import annotations

import open_clip
import pytest
import torch

from cmmasksd.models import OpenCLIPTextTransformer

SENTENCES = ['left zebra', 'the man in the blue shirt', 'tree!']


@pytest.fixture(scope='module')
def text_b():
    """open_clip's ViT-B/16 model with random weights, and our text tower with the same."""
    torch.manual_seed(0)
    clip = open_clip.create_model('ViT-B-16-quickgelu', pretrained=None).eval()
    ours = OpenCLIPTextTransformer('ViT-B-16-quickgelu').eval()
    ours.load_state_dict(ours.select_weights(clip.state_dict()), strict=True)
    return clip, ours


@pytest.fixture(scope='module')
def ids():
    return open_clip.get_tokenizer('ViT-B-16-quickgelu')(SENTENCES)


@torch.no_grad()
def test_open_clips_features_at_77_tokens(text_b, ids):
    clip, ours = text_b
    features = ours(ids)
    torch.testing.assert_close(features.sentence, clip.encode_text(ids), rtol=1e-5, atol=1e-5)
    words = clip.forward_intermediates(text=ids, text_indices=1, normalize_intermediates=True)['text_intermediates'][0]
    assert features.words.shape == (3, 77, 512)
    torch.testing.assert_close(features.words, words, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(features.tokens, words @ clip.text_projection, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('length', [17, 22])
@torch.no_grad()
def test_a_short_length_gives_the_same_features(text_b, ids, length):
    _, ours = text_b
    whole, short = ours(ids), ours(ids[:, :length])
    torch.testing.assert_close(short.sentence, whole.sentence, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(short.words, whole.words[:, :length], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(short.tokens, whole.tokens[:, :length], rtol=1e-5, atol=1e-5)
    assert torch.equal(short.padding, whole.padding[:, :length])
    assert torch.equal(short.word_tokens, whole.word_tokens[:, :length])


def test_padding_and_word_tokens(tiny_architecture, ids):
    """Id 0 is the word token "!" as well as padding: only the place of EOT decides."""
    tower = OpenCLIPTextTransformer(tiny_architecture)
    rows = torch.tensor(
        [
            [49406, 320, 0, 512, 49407, 0, 0],  # "!" in the middle
            [49406, 320, 320, 320, 320, 320, 49407],  # full: no padding
            [49406, 49407, 0, 0, 0, 0, 0],  # no word
        ]
    )
    features = tower(rows)
    assert features.padding.int().tolist() == [[0, 0, 0, 0, 0, 1, 1], [0] * 7, [0, 0, 1, 1, 1, 1, 1]]
    assert features.word_tokens.int().tolist() == [[0, 1, 1, 1, 0, 0, 0], [0, 1, 1, 1, 1, 1, 0], [0] * 7]
    for row, eot in enumerate([4, 6, 1]):
        assert torch.equal(features.sentence[row], features.tokens[row, eot])


def test_word_embeddings_carry_no_positions(tiny_architecture):
    embeddings = OpenCLIPTextTransformer(tiny_architecture).embed_text(torch.full((1, 5), 320))
    assert embeddings.shape == (1, 5, 24)
    assert torch.equal(embeddings, embeddings[:, :1].expand_as(embeddings))


def test_widths(tiny_architecture):
    tower = OpenCLIPTextTransformer(tiny_architecture)
    assert (tower.embed_dims, tower.out_channels) == (24, 8)


def test_more_tokens_than_positions(tiny_architecture):
    tower = OpenCLIPTextTransformer(tiny_architecture)
    with pytest.raises(ValueError, match='78 tokens, but the text tower has 77 positions.*token_length'):
        tower(torch.ones(1, 78, dtype=torch.long))


def test_activation_checkpointing_gives_the_same_gradients(tiny_architecture, make_ids):
    towers = [OpenCLIPTextTransformer(tiny_architecture, activation_checkpointing=flag) for flag in (False, True)]
    towers[1].load_state_dict(towers[0].state_dict())
    ids = make_ids([3, 5], 9)
    for tower in towers:
        features = tower.train()(ids)
        (features.tokens.square().sum() + features.sentence.sum()).backward()
    expected = dict(towers[0].named_parameters())
    assert len(expected) > 20
    for name, parameter in towers[1].named_parameters():
        assert parameter.grad is not None, name
        torch.testing.assert_close(parameter.grad, expected[name].grad, msg=name)


@torch.no_grad()
def test_bfloat16_autocast(tiny_architecture, make_ids):
    tower, ids = OpenCLIPTextTransformer(tiny_architecture).eval(), make_ids([3, 5], 9)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        sentence = tower(ids).sentence
    torch.testing.assert_close(sentence.float(), tower(ids).sentence, rtol=0.05, atol=0.05)
