"""CRIS's weights, renamed, give CRIS's logits: against its published architecture, written out as formulas on CRIS's
own names.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmmasksd.models import CrossModalFPN, VisionLanguageDecodeHead

SCRIPT = Path(__file__).resolve().parents[2] / 'tools/model_converters/cris2cmmasksd.py'
LAYERS, HEADS, WIDTH, HIDDEN, TEXT = 3, 4, 16, 24, 12
IN, OUT = (6, 10, TEXT), (8, WIDTH, 20)  # widths of levels 3, 4, 5; in CRIS the sentence has the width of level 5

NORM = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')
AFFINE = ('weight', 'bias')


def block(name: str, out: int, *weight: int) -> dict[str, tuple[int, ...]]:
    """A convolution or linear layer without bias, then batch norm."""
    return {f'{name}.0.weight': (out, *weight), **norm(f'{name}.1', out)}


def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f'{name}.{part}': () if part == 'num_batches_tracked' else (width,) for part in NORM}


def affine(name: str, out: int, *weight: int) -> dict[str, tuple[int, ...]]:
    return {f'{name}.weight': (out, *weight), f'{name}.bias': (out,)}


def attention(name: str) -> dict[str, tuple[int, ...]]:
    shapes = {f'{name}.in_proj_weight': (3 * WIDTH, WIDTH), f'{name}.in_proj_bias': (3 * WIDTH,)}
    return {**shapes, **affine(f'{name}.out_proj', WIDTH, WIDTH)}


def decoder_layer(name: str) -> dict[str, tuple[int, ...]]:
    norms = ('self_attn_norm', 'cross_attn_norm', 'norm1', 'norm2', 'norm3')
    return {
        **{key: shape for part in norms for key, shape in affine(f'{name}.{part}', WIDTH).items()},
        **attention(f'{name}.self_attn'),
        **attention(f'{name}.multihead_attn'),
        **affine(f'{name}.ffn.0', HIDDEN, WIDTH),
        **affine(f'{name}.ffn.3', HIDDEN),
        **affine(f'{name}.ffn.4', WIDTH, HIDDEN),
    }


CRIS = {
    **block('neck.txt_proj', OUT[2], TEXT),
    **block('neck.f1_v_proj', OUT[2], IN[2], 1, 1),
    **norm('neck.norm_layer.0', OUT[2]),
    **block('neck.f2_v_proj', OUT[1], IN[1], 3, 3),
    **block('neck.f2_cat', OUT[1], OUT[2] + OUT[1], 1, 1),
    **block('neck.f3_v_proj', OUT[0], IN[0], 3, 3),
    **block('neck.f3_cat', OUT[1], OUT[0] + OUT[1], 1, 1),
    **block('neck.f4_proj5', OUT[1], OUT[2], 3, 3),
    **block('neck.f4_proj4', OUT[1], OUT[1], 3, 3),
    **block('neck.f4_proj3', OUT[1], OUT[1], 3, 3),
    **block('neck.aggr', OUT[1], 3 * OUT[1], 1, 1),
    **block('neck.coordconv.0.conv1', OUT[1], OUT[1] + 2, 3, 3),
    **block('neck.coordconv.1', OUT[1], OUT[1], 3, 3),
    **{name: shape for number in range(LAYERS) for name, shape in decoder_layer(f'decoder.layers.{number}').items()},
    **affine('decoder.norm', WIDTH),
    **block('proj.vis.1', WIDTH, WIDTH, 3, 3),
    **block('proj.vis.3', WIDTH // 2, WIDTH, 3, 3),
    **affine('proj.vis.4', WIDTH // 2, WIDTH // 2, 1, 1),
    **affine('proj.txt', WIDTH // 2 * 9 + 1, TEXT),
}


@pytest.fixture(scope='module')
def converter():
    sys.path.append(str(SCRIPT.parent))  # where the script finds what converters share
    spec = importlib.util.spec_from_file_location('cris2cmmasksd', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def weights() -> dict[str, Tensor]:
    def draw(name: str, shape: tuple[int, ...]) -> Tensor:
        if name.endswith('num_batches_tracked'):
            return torch.tensor(7)
        if name.endswith('running_var'):
            return torch.rand(shape) + 0.5
        if len(shape) > 1:
            return torch.randn(shape) / math.sqrt(math.prod(shape[1:]))
        return torch.randn(shape) * 0.3 + name.endswith('weight')

    return {name: draw(name, shape) for name, shape in CRIS.items()}


def ours() -> nn.ModuleDict:
    neck = CrossModalFPN(in_channels=IN, text_channels=TEXT, out_channels=OUT, scale_levels=False)
    head = VisionLanguageDecodeHead(WIDTH, WIDTH, TEXT, LAYERS, HEADS, HIDDEN)
    return nn.ModuleDict(dict(neck=neck, decode_head=head)).eval()


# --- CRIS's formulas on CRIS's names ----------------------------------------------------------------------------------


class Formulas:
    """Evaluates CRIS's neck, decoder and projector from its state dict, in evaluation mode."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.weights = weights

    def of(self, name: str, *parts: str) -> tuple[Tensor, ...]:
        return tuple(self.weights[f'{name}.{part}'] for part in parts)

    def batch_norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias, mean, var = (part.view(-1, *[1] * (x.dim() - 2)) for part in self.of(name, *NORM[:4]))
        return ((x - mean) / (var + 1e-5).sqrt() * weight + bias).relu()

    def conv(self, name: str, x: Tensor) -> Tensor:
        kernel = self.weights[f'{name}.0.weight']
        return self.batch_norm(f'{name}.1', F.conv2d(x, kernel, padding=kernel.shape[-1] // 2))

    def layer_norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.of(name, *AFFINE)
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight + bias

    def linear(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.of(name, *AFFINE)
        return x @ weight.T + bias

    def attend(self, name: str, query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None = None) -> Tensor:
        matrices, biases = (part.chunk(3) for part in self.of(name, 'in_proj_weight', 'in_proj_bias'))
        q, k, v = (
            torch.stack((x @ matrix.T + bias).chunk(HEADS, dim=2))
            for x, matrix, bias in zip((query, key, value), matrices, biases)
        )  # (heads, E, length, width)
        scores = torch.einsum('heqc,hekc->heqk', q, k) / math.sqrt(WIDTH / HEADS)
        if padding is not None:
            scores = scores.masked_fill(padding[:, None], float('-inf'))
        return self.linear(
            f'{name}.out_proj', torch.cat(list(torch.einsum('heqk,hekc->heqc', scores.softmax(-1), v)), dim=2)
        )

    def neck(self, levels: tuple[Tensor, Tensor, Tensor], sentence: Tensor) -> Tensor:
        level3, level4, level5 = levels
        state = self.batch_norm('neck.txt_proj.1', sentence @ self.weights['neck.txt_proj.0.weight'].T)
        fused5 = self.batch_norm('neck.norm_layer.0', self.conv('neck.f1_v_proj', level5) * state[:, :, None, None])
        fused4 = self.conv('neck.f2_cat', torch.cat([self.conv('neck.f2_v_proj', level4), double(fused5)], 1))
        fused3 = self.conv('neck.f3_cat', torch.cat([F.avg_pool2d(self.conv('neck.f3_v_proj', level3), 2), fused4], 1))
        query5 = double(self.conv('neck.f4_proj5', fused5))
        merged = torch.cat([self.conv('neck.f4_proj3', fused3), self.conv('neck.f4_proj4', fused4), query5], 1)
        merged = self.conv('neck.aggr', merged)
        count, _, height, width = merged.shape
        x = torch.linspace(-1, 1, width).repeat(count, 1, height, 1)
        y = torch.linspace(-1, 1, height)[:, None].repeat(count, 1, 1, width)
        return self.conv('neck.coordconv.1', self.conv('neck.coordconv.0.conv1', torch.cat([merged, x, y], 1)))

    def decoder(self, fused: Tensor, words: Tensor, padding: Tensor) -> Tensor:
        count, channels, height, width = fused.shape
        columns, rows = waves(width, channels // 2), waves(height, channels // 2)
        places = torch.cat([columns.repeat(height, 1), rows.repeat_interleave(width, 0)], 1)
        keys = words + waves(words.shape[1], channels)
        pixels = fused.reshape(count, channels, -1).transpose(1, 2)
        for layer in (f'decoder.layers.{number}' for number in range(LAYERS)):
            x = self.layer_norm(f'{layer}.norm1', pixels)
            x = self.attend(f'{layer}.self_attn', x + places, x + places, x)
            pixels = pixels + self.layer_norm(f'{layer}.self_attn_norm', x)
            x = self.layer_norm(f'{layer}.norm2', pixels)
            x = self.attend(f'{layer}.multihead_attn', x + places, keys, words, padding)
            pixels = pixels + self.layer_norm(f'{layer}.cross_attn_norm', x)
            x = self.linear(f'{layer}.ffn.0', self.layer_norm(f'{layer}.norm3', pixels)).relu()
            pixels = pixels + self.linear(f'{layer}.ffn.4', self.layer_norm(f'{layer}.ffn.3', x))
        return self.layer_norm('decoder.norm', pixels).transpose(1, 2).reshape(fused.shape)

    def projector(self, features: Tensor, sentence: Tensor) -> Tensor:
        features = self.conv('proj.vis.3', double(self.conv('proj.vis.1', double(features))))
        features = F.conv2d(features, *self.of('proj.vis.4', *AFFINE))
        numbers = self.linear('proj.txt', sentence)
        return torch.cat(
            [  # one ordinary convolution an expression
                F.conv2d(one[None], row[:-1].reshape(1, len(one), 3, 3), row[-1:], padding=1)
                for one, row in zip(features, numbers)
            ]
        )

    def logits(self, levels: tuple[Tensor, Tensor, Tensor], words: Tensor, padding: Tensor, sentence: Tensor) -> Tensor:
        return self.projector(self.decoder(self.neck(levels, sentence), words, padding), sentence)


def double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode='bilinear', align_corners=False)


def waves(length: int, channels: int) -> Tensor:
    angles = torch.arange(length)[:, None] / 10000 ** (torch.arange(0, channels, 2) / channels)
    table = torch.empty(length, channels)
    table[:, 0::2], table[:, 1::2] = angles.sin(), angles.cos()
    return table


# --- tests ------------------------------------------------------------------------------------------------------------


def test_every_name_of_cris_has_its_place(converter, weights):
    assert len(weights) == 167
    model, converted = ours(), converter.convert(weights)
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    assert {name: tensor.shape for name, tensor in converted.items()} == shapes
    model.load_state_dict(converted, strict=True)
    assert sum(tensor.numel() for tensor in converted.values()) == sum(tensor.numel() for tensor in weights.values())


@torch.no_grad()
def test_logits_are_criss(converter, weights):
    model = ours()
    model.load_state_dict(converter.convert(weights), strict=True)
    levels = (torch.randn(2, IN[0], 8, 12), torch.randn(2, IN[1], 4, 6), torch.randn(2, IN[2], 2, 3))
    words, sentence = torch.randn(2, 7, WIDTH), torch.randn(2, TEXT)
    padding = torch.arange(7) >= torch.tensor([[7], [4]])
    formulas = Formulas(weights)
    fused = model.neck(levels, sentence)
    torch.testing.assert_close(fused, formulas.neck(levels, sentence), rtol=1e-4, atol=1e-4)
    logits = model.decode_head(fused, words, padding, sentence)
    expected = formulas.logits(levels, words, padding, sentence)
    assert logits.shape == expected.shape == (2, 1, 16, 24)
    assert expected.std() > 0.1
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def test_a_distributed_checkpoint_and_its_backbone(converter, weights):
    wrapped = {f'module.{name}': tensor for name, tensor in weights.items()}
    wrapped['module.backbone.visual.conv1.weight'] = torch.zeros(1)
    plain = converter.convert(weights)
    converted = converter.convert(wrapped, head_only=True)
    assert converted.keys() == plain.keys()
    assert converter.convert(wrapped).keys() == {*plain, 'backbone.visual.conv1.weight'}
    assert all(torch.equal(converted[name], plain[name]) for name in plain)


@pytest.mark.parametrize(
    'name',
    [
        'neck.f5_proj.0.weight',
        'decoder.layers.0.norm4.weight',
        'head.weight',
        'neckxtxt_proj.0.weight',
        'proj.visual.weight',
    ],
)
def test_an_unknown_name(converter, name):
    with pytest.raises(ValueError, match=f"'{name}' is no parameter of CRIS"):
        converter.convert({name: torch.zeros(1)})


def test_the_command_says_what_is_no_checkpoint_of_cris(converter, tmp_path, monkeypatch):
    source, destination = tmp_path / 'best_model.pth', tmp_path / 'converted.pth'
    torch.save({'head.weight': torch.zeros(1)}, source)
    monkeypatch.setattr(sys, 'argv', ['cris2cmmasksd.py', str(source), str(destination)])
    with pytest.raises(SystemExit, match="Error: 'head.weight' is no parameter of CRIS"):
        converter.main()
    assert not destination.exists()


def test_the_command_writes_a_checkpoint(converter, weights, tmp_path, monkeypatch, capsys):
    source, destination = tmp_path / 'best_model.pth', tmp_path / 'converted.pth'
    torch.save(dict(epoch=3, state_dict={f'module.{name}': tensor for name, tensor in weights.items()}), source)
    monkeypatch.setattr(sys, 'argv', ['cris2cmmasksd.py', str(source), str(destination)])
    converter.main()
    assert '167 tensors written' in capsys.readouterr().out
    ours().load_state_dict(torch.load(destination, weights_only=True)['state_dict'], strict=True)
