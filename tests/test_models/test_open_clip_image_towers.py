"""Every image tower of open_clip: what it gives equals open_clip's own, or it is refused with the reason."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import open_clip
import pytest
import torch
from open_clip.transformer import AttentionalPooler
from timm.layers import AttentionPoolLatent
from torch import nn

from cmmasksd.models import ImageBackboneAdapter, OpenCLIPVisionTransformer
from cmmasksd.models.backbones.attention_pooling import pool_each_patch
from tests.test_models.open_clip_towers import (
    DEPTH,
    FAMILIES,
    JOINT,
    open_clips_model,
    randomise,
    small_config,
    small_trunks,
)

SIDE = 4  # patches


def patch_of(vision_cfg: dict[str, Any]) -> int:
    """The side of a patch in pixels."""
    named = re.search(r'patch(\d+)', vision_cfg.get('timm_model_name', ''))
    return int(named[1]) if named else vision_cfg.get('patch_size') or 16


def pair(family: str, side: int = SIDE) -> tuple[nn.Module, OpenCLIPVisionTransformer, int]:
    """open_clip's model of a family, our image tower with the same weights, and the input's size."""
    name, options = FAMILIES[family]
    config = small_config(name)
    size = side * patch_of(config['vision_cfg'])
    with small_trunks(**options):
        torch.manual_seed(0)
        clip = open_clips_model(config, size)
        ours = OpenCLIPVisionTransformer(config, image_size=size).eval()
    ours.load_state_dict(ours.select_weights(clip.state_dict()), strict=True)
    return clip, ours, size


@pytest.mark.parametrize('family', FAMILIES)
@torch.no_grad()
def test_features_equal_open_clips(family) -> None:
    clip, ours, size = pair(family)
    images = torch.randn(2, 3, size, size)
    features = ours.encode_image(ours.embed_image(images))
    torch.testing.assert_close(features.pooled, clip.encode_image(images, normalize=False), rtol=1e-4, atol=1e-5)
    theirs = clip.visual.forward_intermediates(images, indices=[0, 1], output_fmt='NCHW')['image_intermediates']
    assert ours.out_indices == (0, 1) and len(theirs) == 2
    for level, expected in zip(features.levels, theirs):
        torch.testing.assert_close(level, expected, rtol=1e-4, atol=1e-5)
    assert features.patches.shape == (2, SIDE**2, JOINT)
    torch.testing.assert_close(features.levels[2].flatten(2).transpose(1, 2), features.patches)


@pytest.mark.parametrize('family', FAMILIES)
@torch.no_grad()
def test_embeddings_carry_no_positions_and_masking_one_patch_changes_it(family) -> None:
    _, ours, size = pair(family)
    embeddings = ours.embed_image(torch.randn(1, 3, size, size))
    assert embeddings.shape == (1, SIDE**2, ours.embed_dims)
    if family not in ('ViTamin', 'MobileCLIP-B'):  # a stem of convolutions sees the picture's border
        same = ours.embed_image(torch.randn(1, 3, size // SIDE, size // SIDE).repeat(1, 1, SIDE, SIDE))
        torch.testing.assert_close(same, same[:, :1].expand_as(same))
    masked = embeddings.clone()
    masked[:, 5] = 0
    difference = ours.encode_image(masked).patches - ours.encode_image(embeddings).patches
    assert difference.abs().amax(dim=2).argmax() == 5


POOLED_IS_THE_MEAN = {'average'}


@pytest.mark.parametrize('family', [name for name in FAMILIES if name in (*POOLED_IS_THE_MEAN, 'CLIPA', 'ViTamin')])
@torch.no_grad()
def test_the_mean_of_the_patches_is_the_pooled_feature_where_the_norm_comes_first(family) -> None:
    _, ours, size = pair(family)
    features = ours.encode_image(ours.embed_image(torch.randn(2, 3, size, size)))
    assert torch.allclose(features.patches.mean(dim=1), features.pooled, atol=1e-5) == (family in POOLED_IS_THE_MEAN)


@pytest.mark.parametrize(
    'pool',
    [
        AttentionPoolLatent(16, num_heads=4, mlp_ratio=2, norm_layer=nn.LayerNorm, qk_norm=True),
        AttentionPoolLatent(16, num_heads=2, mlp_ratio=2, norm_layer=nn.LayerNorm, qkv_bias=False),
        AttentionalPooler(8, 16, n_head=4, n_queries=6),
        AttentionalPooler(16, 16, n_head=4, n_queries=6),
    ],
    ids=['MAP', 'MAP without biases', 'CoCa', 'CoCa of one width'],
)
@torch.no_grad()
def test_a_patch_in_the_joint_space_is_the_pooling_of_that_patch_alone(pool) -> None:
    patches = torch.randn(2, 5, 16)
    each = randomise(pool).eval()(patches.flatten(0, 1)[:, None])
    each = each[:, 0] if each.dim() == 3 else each
    torch.testing.assert_close(pool_each_patch(pool, patches), each.unflatten(0, (2, 5)))


@pytest.mark.parametrize('family', FAMILIES)
@torch.no_grad()
def test_weights_of_another_grid(family, tmp_path) -> None:
    """Positions are resized as open_clip and timm do; from a file, strictly."""
    clip, ours, size = pair(family)
    name, options = FAMILIES[family]
    torch.save(clip.state_dict(), tmp_path / 'clip.pt')
    larger = size // SIDE * 6
    with small_trunks(**options):
        tower = OpenCLIPVisionTransformer(ours.config, image_size=larger, pretrained=str(tmp_path / 'clip.pt')).eval()
    tower.init_weights()
    if hasattr(clip.visual, 'set_input_size'):
        clip.visual.set_input_size((larger, larger))
    else:
        resized = open_clips_model(ours.config, larger)
        state = clip.state_dict()
        open_clip.model.resize_pos_embed(state, resized)
        resized.load_state_dict(state)
        clip = resized
    images = torch.randn(1, 3, larger, larger)
    pooled = tower.encode_image(tower.embed_image(images)).pooled
    torch.testing.assert_close(pooled, clip.encode_image(images, normalize=False), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('family', FAMILIES)
def test_every_parameter_that_is_trained_has_a_gradient_of_the_levels(family) -> None:
    _, ours, size = pair(family)
    images = torch.randn(2, 3, size, size)
    sum(level.square().sum() for level in ours.train()(images)).backward()
    without = [name for name, p in ours.named_parameters() if p.requires_grad and p.grad is None]
    assert not without
    frozen = [name for name, p in ours.named_parameters() if not p.requires_grad]
    assert all('attn_pool' in name for name in frozen) and bool(frozen) == family.startswith(('SigLIP', 'CoCa', 'PE'))


@pytest.mark.parametrize('family', ['CLIPA', 'CoCa', 'SigLIP', 'EVA02', 'ViTamin', 'relative positions'])
def test_activation_checkpointing_gives_the_same_gradients(family) -> None:
    name, options = FAMILIES[family]
    _, plain, size = pair(family)
    with small_trunks(**options):
        other = OpenCLIPVisionTransformer(plain.config, image_size=size, activation_checkpointing=True)
    other.eval().load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, size, size)
    for tower in (plain, other):
        sum(level.square().sum() for level in tower(images)).backward()
    expected = dict(plain.named_parameters())
    for name, parameter in other.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(parameter.grad, expected[name].grad, rtol=1e-4, atol=1e-4, msg=name)


REFUSED = {'is a ResNet': 10, 'is a CNN or pyramid': 18}


def test_the_whole_list_of_open_clip() -> None:
    """At reduced depth, without numbers: each of the 144 is built and runs, or is refused with the reason."""
    told: Counter = Counter()
    for name in open_clip.list_models():
        config = open_clip.get_model_config(name)
        if not config['vision_cfg'].get('timm_model_name') and isinstance(config['vision_cfg']['layers'], int):
            config['vision_cfg']['layers'] = DEPTH
        size = SIDE * patch_of(config['vision_cfg'])
        try:
            with small_trunks(), torch.device('meta'):
                tower = OpenCLIPVisionTransformer(config, image_size=size)
                features = tower.encode_image(tower.embed_image(torch.empty(1, 3, size, size)))
        except ValueError as error:
            told[next((kind for kind in REFUSED if kind in str(error)), f'{name}: {error}')] += 1
            assert 'ImageBackboneAdapter' in str(error)
            continue
        told['works'] += 1
        assert tower.grid_size == (SIDE, SIDE), name
        assert features.patches.shape == (1, SIDE**2, config['embed_dim']), name
        assert features.pooled.shape == (1, config['embed_dim']), name
        shapes = [tuple(level.shape) for level in features.levels]
        assert shapes == [(1, width, *tower.grid_size) for width in tower.out_channels], name
    assert told == {'works': 116, **REFUSED}


@pytest.mark.parametrize(
    'name', ['resnet50_clip.openai', 'convnext_tiny', 'fastvit_mci0', 'fastvit_mci3', 'swin_base_patch4_window7_224']
)
def test_the_way_out_that_a_refusal_names_is_one(name) -> None:
    options = dict(img_size=64) if 'swin' in name else {}
    with torch.device('meta'):
        adapter = ImageBackboneAdapter(dict(type='TimmBackbone', name=name, **options), image_size=64)
        assert len(adapter(torch.empty(2, 3, 64, 64))) >= 3


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(patch_dropout=0.5), 'drops patches in training.*patch_dropout=0'),
        (dict(pool_type='none'), "pools nothing.*pool_type='tok'"),
        (dict(attentional_pool='parallel', attn_pooler_heads=4), 'attentional_pool=True'),
        (dict(widht=5), "cannot be built: .*unexpected keyword argument 'widht'"),
        (dict(head_width=5), 'cannot be built'),
        (dict(timm_model_name='vit_tiny_patch16_224', timm_pool='max'), "pools by 'max'.*timm_pool"),
        (dict(timm_model_name='vit_tiny_patch16_224', patch_dropout=0.5), 'drops patches.*patch_dropout=0'),
        (dict(timm_model_name='vit_tiny_patch16_224', timm_proj='none'), "no projection, and its width 192.*space's 8"),
        (dict(timm_model_name='deit_tiny_distilled_patch16_224'), 'ImageBackboneAdapter'),
        (dict(timm_model_name='vit_tiny_patch61_224'), 'vit_tiny_patch61_224'),
    ],
)
def test_configs_that_cannot_work(tiny_architecture, change, message) -> None:
    config = {**tiny_architecture, 'vision_cfg': {**tiny_architecture['vision_cfg'], **change}}
    with torch.device('meta'), pytest.raises(ValueError, match=message):
        OpenCLIPVisionTransformer(config, image_size=32)


def test_a_size_that_is_no_multiple_of_timms_patch() -> None:
    with torch.device('meta'), pytest.raises(ValueError, match=r'\(384, 384\) is no multiple of the patch size 14'):
        OpenCLIPVisionTransformer('ViT-SO400M-14-SigLIP-384', image_size=384)
