from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmmasksd.models import VisionLanguageDecodeHead
from cmmasksd.models.decode_heads.vision_language_head import sine_positions, sine_positions_2d


def make_head(word_channels: int = 12, dropout: float = 0.0) -> VisionLanguageDecodeHead:
    """A small head whose norms and biases are not at their neutral start."""
    head = VisionLanguageDecodeHead(
        16, word_channels, text_channels=6, num_layers=2, num_heads=4, feedforward_channels=20, dropout=dropout
    )
    for name, tensor in head.named_parameters():
        if tensor.dim() == 1:
            nn.init.normal_(tensor, mean=1.0 if name.endswith('weight') else 0.0, std=0.3)
    for name, buffer in head.named_buffers():
        if name.endswith('running_mean'):
            buffer.normal_()
        elif name.endswith('running_var'):
            buffer.uniform_(0.5, 2)
    return head


def make_inputs(
    count: int = 3, grid: tuple[int, int] = (4, 5), word_channels: int = 12
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    padding = torch.arange(7) >= torch.tensor([7, 4, 2, 5])[:count, None]
    return torch.randn(count, 16, *grid), torch.randn(count, 7, word_channels), padding, torch.randn(count, 6)


# --- the plain reference ----------------------------------------------------------------------------------------------


def attend(
    attention: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None
) -> Tensor:
    """Softmax attention written out, with minus infinity added where keys are padding."""
    if attention.in_proj_weight is not None:
        weights = attention.in_proj_weight.chunk(3)
    else:
        weights = (attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight)
    projected = [
        x @ weight.T + bias for x, weight, bias in zip((query, key, value), weights, attention.in_proj_bias.chunk(3))
    ]
    # (E, heads, length, D/heads)
    q, k, v = (torch.stack(x.chunk(attention.num_heads, dim=2), dim=1) for x in projected)
    scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[3])
    if padding is not None:
        scores = scores + torch.zeros(padding.shape).masked_fill(padding, float('-inf'))[:, None, None]
    heads = scores.softmax(dim=3) @ v
    return attention.out_proj(torch.cat(heads.unbind(1), dim=2))


def position_table(length: int, channels: int) -> Tensor:
    """Position p, channel 2i: sin(p / 10000^(2i/channels)), channel 2i + 1: the cosine."""
    table = torch.empty(length, channels)
    for place in range(length):
        for channel in range(channels):
            angle = place / 10000 ** (channel // 2 * 2 / channels)
            table[place, channel] = math.cos(angle) if channel % 2 else math.sin(angle)
    return table


def grid_table(channels: int, height: int, width: int) -> Tensor:
    columns, rows = position_table(width, channels // 2), position_table(height, channels // 2)
    return torch.stack([torch.cat([columns[x], rows[y]]) for y in range(height) for x in range(width)])


def reference_projector(projector: nn.Module, features: Tensor, sentence: Tensor) -> Tensor:
    """CRIS's way: a 1x1 convolution over the pixels, then one grouped convolution with a kernel per expression."""
    count, half = len(features), features.shape[1] // 2
    for block in projector.upsample:
        features = F.interpolate(features, scale_factor=2, mode='bilinear', align_corners=False)
        features = nn.Sequential(*block)(features)
    pixels = F.conv2d(features, projector.mix.weight[:, :, None, None], projector.mix.bias)
    numbers = projector.kernel(sentence)
    kernels, biases = numbers[:, :-1].reshape(count, half, 3, 3), numbers[:, -1]
    logits = F.conv2d(pixels.reshape(1, count * half, *pixels.shape[2:]), kernels, biases, padding=1, groups=count)
    return logits.transpose(0, 1)


def reference(
    head: VisionLanguageDecodeHead, fused: Tensor, words: Tensor, padding: Tensor, sentence: Tensor
) -> Tensor:
    pixels = fused.flatten(2).transpose(1, 2)
    places = grid_table(*fused.shape[1:])
    keys = words + position_table(*words.shape[1:])
    for layer in head.layers:
        x = layer.norm1(pixels)
        pixels = pixels + layer.self_attention_norm(attend(layer.self_attention, x + places, x + places, x, None))
        x = layer.norm2(pixels)
        pixels = pixels + layer.cross_attention_norm(attend(layer.cross_attention, x + places, keys, words, padding))
        pixels = pixels + layer.feedforward(layer.norm3(pixels))
    decoded = head.norm(pixels).transpose(1, 2).reshape(fused.shape)
    return reference_projector(head.projector, decoded, sentence)


# --- tests ------------------------------------------------------------------------------------------------------------


# equal to the decoder's width, narrower and wider (ViT-L has 768 for 512)
@pytest.mark.parametrize('word_channels', [16, 12, 24])
@torch.no_grad()
def test_logits_equal_the_reference(word_channels):
    head, inputs = make_head(word_channels).eval(), make_inputs(word_channels=word_channels)
    logits, expected = head(*inputs), reference(head, *inputs)
    assert logits.shape == (3, 1, 16, 20)
    assert logits.dtype == torch.float32
    assert (logits - expected).abs().max() <= 1e-5 * expected.abs().max()


@torch.no_grad()
def test_the_projector_equals_a_grouped_convolution():
    projector = make_head().projector.eval()
    features, sentence = torch.randn(4, 16, 3, 5), torch.randn(4, 6)
    expected = reference_projector(projector, features, sentence)
    assert (projector(features, sentence) - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_gradients_equal_the_references():
    head, inputs = make_head().eval(), make_inputs()
    head(*inputs).square().mean().backward()
    gradients = {name: parameter.grad.clone() for name, parameter in head.named_parameters()}
    head.zero_grad()
    reference(head, *inputs).square().mean().backward()
    assert len(gradients) > 60
    for name, parameter in head.named_parameters():
        difference = (parameter.grad - gradients[name]).abs().max()
        assert difference <= 1e-4 * parameter.grad.abs().max() + 1e-5, name


@torch.no_grad()
def test_padding_is_ignored():
    head, (fused, words, padding, sentence) = make_head().eval(), make_inputs()
    changed = torch.where(padding[..., None], torch.randn_like(words) * 100, words)
    torch.testing.assert_close(head(fused, changed, padding, sentence), head(fused, words, padding, sentence))
    visible = words.clone()
    visible[:, 1] += 1
    assert (head(fused, visible, padding, sentence) - head(fused, words, padding, sentence)).abs().max() > 1e-3


@torch.no_grad()
def test_expressions_do_not_see_one_another():
    head, inputs = make_head().eval(), make_inputs()
    together = head(*inputs)
    for row in range(3):
        alone = head(*(part[row : row + 1] for part in inputs))
        torch.testing.assert_close(alone, together[row : row + 1], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_logits_are_float32_under_autocast():
    head, inputs = make_head().eval(), make_inputs()
    expected = head(*inputs)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        logits = head(*inputs)
    assert logits.dtype == torch.float32
    assert (logits - expected).abs().mean() < 0.05 * expected.abs().mean() + 0.05


def test_vit_ls_words_are_wider_than_the_decoder():
    with torch.device('meta'):
        head = VisionLanguageDecodeHead(channels=512, word_channels=768, text_channels=768)
    attention = head.layers[0].cross_attention
    assert (attention.k_proj_weight.shape, attention.v_proj_weight.shape, attention.q_proj_weight.shape) == (
        (512, 768),
        (512, 768),
        (512, 512),
    )
    assert len(head.layers) == 3
    assert head.projector.kernel.out_features == 256 * 9 + 1


def test_dropout_is_for_training_alone():
    head, inputs = make_head(dropout=0.5), make_inputs()
    assert not torch.equal(head.train()(*inputs), head(*inputs))
    assert torch.equal(head.eval()(*inputs), head(*inputs))


@pytest.mark.parametrize(('length', 'channels'), [(1, 2), (17, 24), (22, 768)])
def test_sine_positions(length, channels):
    torch.testing.assert_close(sine_positions(length, channels), position_table(length, channels), rtol=0, atol=2e-5)


@pytest.mark.parametrize(('channels', 'height', 'width'), [(4, 1, 1), (16, 3, 5), (512, 6, 4)])
def test_sine_positions_of_a_grid(channels, height, width):
    torch.testing.assert_close(
        sine_positions_2d(channels, height, width), grid_table(channels, height, width), rtol=0, atol=2e-5
    )
