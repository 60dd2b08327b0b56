"""CLIP's ResNet with CRIS's pooling, beside open_clip's own and torch's attention."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from cmmasksd.models.backbones.open_clip_resnet import pool_points
from cmmasksd.registry import MODELS

CONFIG: dict[str, Any] = dict(
    embed_dim=24,
    quick_gelu=True,
    vision_cfg=dict(image_size=64, layers=[1, 2, 1, 1], width=16),
    text_cfg=dict(context_length=77, vocab_size=49408, width=32, heads=4, layers=2),
)
SIZE = (64, 96)
IDS = torch.tensor([[49406, 736, 28157, 49407, 0, 0], [49406, 5, 49407, 0, 0, 0]])
SCRIPT = Path(__file__).resolve().parents[2] / 'tools/model_converters/cris2cmmasksd.py'


def build_clip() -> nn.Module:
    torch.manual_seed(0)
    clip = open_clip.CLIP(**{**CONFIG, 'vision_cfg': dict(CONFIG['vision_cfg']), 'text_cfg': dict(CONFIG['text_cfg'])})
    for module in clip.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    return clip.eval()


@pytest.fixture(scope='module')
def clip() -> nn.Module:
    return build_clip()


@pytest.fixture
def weights(clip: nn.Module, tmp_path: Path) -> str:
    save_file({name: tensor.contiguous() for name, tensor in clip.state_dict().items()}, tmp_path / 'clip.safetensors')
    return str(tmp_path / 'clip.safetensors')


def build(size: tuple[int, int] = SIZE, pretrained: str | None = None) -> Any:
    torch.manual_seed(1)
    return MODELS.build(
        dict(type='cmmasksd.OpenCLIPResNet', architecture=CONFIG, image_size=size, pretrained=pretrained)
    )


def segmentor(distillation: list[dict] | None = None) -> Any:
    torch.manual_seed(1)
    return MODELS.build(
        dict(
            type='cmmasksd.ReferringSegmentor',
            backbone=dict(type='cmmasksd.OpenCLIPResNet', architecture=CONFIG, image_size=SIZE),
            text_encoder=dict(type='cmmasksd.OpenCLIPTextTransformer', architecture=CONFIG),
            neck=dict(
                type='cmmasksd.CrossModalFPN',
                in_channels=(128, 256, 24),
                text_channels=24,
                out_channels=(8, 16, 32),
                scale_levels=False,
            ),
            decode_head=dict(
                type='cmmasksd.VisionLanguageDecodeHead',
                channels=16,
                word_channels=32,
                text_channels=24,
                num_layers=1,
                num_heads=2,
                feedforward_channels=32,
                dropout=0.0,
            ),
            distillation=distillation or [],
            mask_alignment='cris',
        )
    )


@torch.no_grad()
def test_the_pooled_feature_is_clips(clip: nn.Module, weights: str) -> None:
    ours = build((64, 64), weights).eval()
    ours.init_weights()
    images = torch.randn(2, 3, 64, 64)
    pooled = ours.encode_image(ours.embed_image(images)).pooled
    torch.testing.assert_close(pooled, clip.visual(images), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_points_attend_to_all_points(clip: nn.Module) -> None:
    pool, maps = clip.visual.attnpool, torch.randn(2, 512, 2, 2)
    points, _ = pool_points(pool, maps)
    x = maps.flatten(2).permute(2, 0, 1) + pool.positional_embedding[1:, None]
    projections = [getattr(pool, f'{name}_proj') for name in 'qkv']
    expected, _ = F.multi_head_attention_forward(
        *(x, x, x, 512, pool.num_heads, None, torch.cat([each.bias for each in projections]), None, None, False, 0.0),
        pool.c_proj.weight,
        pool.c_proj.bias,
        use_separate_proj_weight=True,
        q_proj_weight=projections[0].weight,
        k_proj_weight=projections[1].weight,
        v_proj_weight=projections[2].weight,
        need_weights=False,
    )
    torch.testing.assert_close(points, expected.transpose(0, 1), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_levels_are_those_of_the_stages(clip: nn.Module, weights: str) -> None:
    ours = build(pretrained=weights).eval()
    ours.init_weights()
    images = torch.randn(1, 3, *SIZE)
    shallow, middle, deep = ours(images)
    visual = clip.visual
    second = visual.layer2(visual.layer1(visual.stem(images)))
    torch.testing.assert_close(shallow, second)
    torch.testing.assert_close(middle, visual.layer3(second))
    assert deep.shape == (1, 24, 2, 3) and (deep >= 0).all() and deep.any()
    assert ours.out_channels == (128, 256, 24) and ours.grid_size == (2, 3)


def test_the_convolution_of_cris_stays_random(clip: nn.Module, weights: str) -> None:
    ours = build(pretrained=weights)
    before = ours.visual.attnpool.connect[0].weight.clone()
    ours.init_weights()
    assert torch.equal(ours.visual.attnpool.connect[0].weight, before)
    assert torch.equal(ours.visual.attnpool.c_proj.weight, clip.visual.attnpool.c_proj.weight)


def test_a_mask_covers_what_lies_below_a_point() -> None:
    ours = build()
    masked = torch.zeros(1, 6, dtype=torch.bool)
    masked[0, 4] = True  # second row, second column of 2 x 3
    spread = ours.spread_mask(masked).view(16, 24)
    expected = torch.zeros(16, 24, dtype=torch.bool)
    expected[8:, 8:16] = True
    assert torch.equal(spread, expected)


def test_both_branches_train_all_that_they_share() -> None:
    model = segmentor([dict(type='cmmasksd.LMVSD'), dict(type='cmmasksd.VMLSD', rounding='nearest')]).train()
    for name, parameter in model.backbone.named_parameters():
        if 'bn3' in name:  # CLIP begins with residuals of 0, which let no gradient through
            nn.init.ones_(parameter)
    torch.manual_seed(0)
    losses = model.loss(torch.randn(2, 3, *SIZE), IDS, None, (torch.rand(2, 1, *SIZE) > 0.5).float())
    assert list(losses) == ['loss_seg', 'loss_lmvsd', 'loss_vmlsd']
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())
    sum(losses.values()).backward()
    without = [name for name, each in model.named_parameters() if each.grad is None or not each.grad.any()]
    assert not without


def cris_layout(clip: nn.Module, model: Any) -> dict[str, Tensor]:
    """A checkpoint as CRIS writes one, of random numbers: CLIP's names under ``backbone``, its own for the rest."""
    state = {f'backbone.{name}': torch.randn_like(tensor.float()) for name, tensor in clip.state_dict().items()}
    for name, tensor in model.backbone.visual.attnpool.connect.state_dict().items():
        state[f'backbone.visual.attnpool.connect.{name}'] = torch.randn_like(tensor.float())
    return {f'module.{name}': tensor for name, tensor in state.items()}


def test_a_released_checkpoint_becomes_ours(clip: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    sys.path.append(str(SCRIPT.parent))  # where the script finds what converters share
    spec = importlib.util.spec_from_file_location('cris2cmmasksd', SCRIPT)
    assert spec is not None and spec.loader is not None
    converter = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, 'cris2cmmasksd', converter)
    spec.loader.exec_module(converter)
    model = segmentor()
    state = cris_layout(clip, model)
    converted = converter.convert(state)
    towers = {name for name in model.state_dict() if name.startswith(('backbone.', 'text_encoder.'))}
    assert set(converted) == towers and len(towers) > 50
    left_out = model.load_state_dict(converted, strict=False)
    assert not left_out.unexpected_keys
    assert torch.equal(
        model.text_encoder.text.text_projection, state['module.backbone.text_projection']
    ) and torch.equal(
        model.backbone.visual.attnpool.connect[0].weight, state['module.backbone.visual.attnpool.connect.0.weight']
    )
    assert converter.convert(state, head_only=True) == {}


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (dict(architecture='ViT-B-16-quickgelu'), 'no ResNet'),
        (dict(architecture=CONFIG, image_size=(64, 90)), 'multiple of 32'),
    ],
)
def test_what_is_no_resnet_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        MODELS.build(dict(type='cmmasksd.OpenCLIPResNet', **options))


def test_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match='LetterboxResize'):
        build().embed_image(torch.zeros(1, 3, 64, 64))
