from __future__ import annotations

from types import SimpleNamespace

import open_clip
import pytest
import torch
from open_clip.model import resize_pos_embed
from timm.layers import resample_abs_pos_embed

from cmmasksd.models import OpenCLIPVisionTransformer
from cmmasksd.models.backbones.positions import resize_positions


@pytest.fixture(scope='module')
def vit_b():
    """open_clip's ViT-B/16 with random weights, and ours with the same."""
    torch.manual_seed(0)
    clip = open_clip.create_model('ViT-B-16-quickgelu', pretrained=None).eval()
    ours = OpenCLIPVisionTransformer('ViT-B-16-quickgelu', image_size=224).eval()
    ours.load_state_dict(ours.select_weights(clip.state_dict()), strict=True)
    return clip.visual, ours


@torch.no_grad()
def test_vit_b_gives_open_clips_features(vit_b):
    visual, ours = vit_b
    images = torch.randn(2, 3, 224, 224)
    features = ours.encode_image(ours.embed_image(images))
    visual.output_tokens = True
    pooled, tokens = visual(images)
    theirs = visual.forward_intermediates(images, indices=[3, 7], normalize_intermediates=False, output_fmt='NCHW')
    shallow = theirs['image_intermediates']
    torch.testing.assert_close(features.pooled, pooled, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(features.patches, tokens @ visual.proj, rtol=1e-5, atol=1e-5)
    assert len(shallow) == 2
    for level, expected in zip(features.levels, shallow):
        torch.testing.assert_close(level, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        features.levels[2], features.patches.transpose(1, 2).unflatten(2, (14, 14)), rtol=0, atol=0
    )


def test_vit_bs_widths(vit_b):
    _, ours = vit_b
    assert (ours.embed_dims, ours.out_channels, ours.out_indices, ours.grid_size) == (
        768,
        (768, 768, 512),
        (3, 7),
        (14, 14),
    )


def test_embeddings_carry_no_positions(vit_b):
    _, ours = vit_b
    image = torch.randn(1, 3, 16, 16).repeat(1, 1, 14, 14)
    embeddings = ours.embed_image(image)
    assert embeddings.shape == (1, 196, 768)
    torch.testing.assert_close(embeddings, embeddings[:, :1].expand_as(embeddings))


@pytest.mark.parametrize(
    ('architecture', 'out_indices', 'channels', 'depth'),
    [('ViT-B-16-quickgelu', (3, 7), (768, 768, 512), 12), ('ViT-L-14-quickgelu', (7, 15), (1024, 1024, 768), 24)],
)
def test_default_levels(architecture, out_indices, channels, depth):
    with torch.device('meta'):
        tower = OpenCLIPVisionTransformer(architecture, image_size=224)
    assert (tower.out_indices, tower.out_channels, len(tower.visual.transformer.resblocks)) == (
        out_indices,
        channels,
        depth,
    )


def test_levels_of_choice(tiny_architecture):
    tower = OpenCLIPVisionTransformer(tiny_architecture, image_size=32, out_indices=(0, 2)).eval()
    blocks = []
    for index in (0, 2):
        tower.visual.transformer.resblocks[index].register_forward_hook(
            lambda module, inputs, output: blocks.append(output)
        )
    levels = tower(torch.randn(1, 3, 32, 32))
    assert len(blocks) == 2
    for level, block in zip(levels, blocks):
        assert torch.equal(level.flatten(2).transpose(1, 2), block[:, 1:])


@torch.no_grad()
def test_an_image_that_is_not_square(tiny_architecture):
    clip = open_clip.CLIP(
        **{**tiny_architecture, 'vision_cfg': {**tiny_architecture['vision_cfg'], 'image_size': (16, 40)}}
    ).eval()
    tower = OpenCLIPVisionTransformer(tiny_architecture, image_size=(16, 40)).eval()
    tower.load_state_dict(tower.select_weights(clip.state_dict()), strict=True)
    images = torch.randn(2, 3, 16, 40)
    features = tower.encode_image(tower.embed_image(images))
    assert [tuple(level.shape) for level in features.levels] == [(2, 16, 2, 5), (2, 16, 2, 5), (2, 8, 2, 5)]
    assert features.patches.shape == (2, 10, 8)
    torch.testing.assert_close(features.pooled, clip.visual(images), rtol=1e-5, atol=1e-5)
    shallow = clip.visual.forward_intermediates(images, indices=[1, 3])['image_intermediates']
    for level, expected in zip(features.levels, shallow):
        torch.testing.assert_close(level, expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_the_call_gives_maps_as_openmmlabs_backbones_do(tiny_architecture):
    tower, images = OpenCLIPVisionTransformer(tiny_architecture, image_size=(16, 40)).eval(), torch.randn(2, 3, 16, 40)
    maps, levels = tower(images), tower.encode_image(tower.embed_image(images)).levels
    assert isinstance(maps, tuple) and len(maps) == 3
    assert [level.shape[1] for level in maps] == list(tower.out_channels) == [16, 16, 8]
    assert all(torch.equal(one, other) for one, other in zip(maps, levels))


@pytest.mark.parametrize('size', [(48, 48), (16, 40), (32, 24)])
@torch.no_grad()
def test_positions_are_resized_at_load_as_open_clip_does(tiny_architecture, size):
    stored = open_clip.CLIP(**tiny_architecture).state_dict()
    before = stored['visual.positional_embedding'].clone()
    tower = OpenCLIPVisionTransformer(tiny_architecture, image_size=size).eval()
    tower.load_state_dict(tower.select_weights(stored), strict=True)
    assert torch.equal(stored['visual.positional_embedding'], before)  # the caller's weights are left alone

    larger = open_clip.CLIP(
        **{**tiny_architecture, 'vision_cfg': {**tiny_architecture['vision_cfg'], 'image_size': size}}
    ).eval()
    resize_pos_embed(stored, larger)
    larger.load_state_dict(stored, strict=True)
    torch.testing.assert_close(tower.visual.positional_embedding, larger.visual.positional_embedding, rtol=0, atol=1e-6)
    images = torch.randn(1, 3, *size)
    torch.testing.assert_close(
        tower.encode_image(tower.embed_image(images)).pooled, larger.visual(images), rtol=1e-5, atol=1e-5
    )


def test_vit_bs_positions_at_480_equal_open_clips(vit_b):
    visual, _ = vit_b
    stored = {'visual.positional_embedding': visual.positional_embedding.detach()}
    expected = dict(stored)
    resize_pos_embed(expected, SimpleNamespace(visual=SimpleNamespace(grid_size=(30, 30))))
    resized = resize_positions(stored['visual.positional_embedding'], (30, 30))
    assert resized.shape == (901, 768)
    torch.testing.assert_close(resized, expected['visual.positional_embedding'], rtol=0, atol=1e-6)


def test_positions_of_the_right_grid_are_left_alone():
    positions = torch.randn(1 + 6, 4)
    assert resize_positions(positions, (2, 3)) is positions
    half = torch.randn(1 + 4, 4).half()
    assert resize_positions(half, (3, 3)).dtype == torch.half
    assert torch.equal(resize_positions(half, (3, 3))[0], half[0])


def test_positions_with_a_batch_dimension_and_without_a_class_token():
    positions = torch.randn(1, 16, 4)
    resized = resize_positions(positions, (6, 3), prefix=0)
    expected = resample_abs_pos_embed(positions, [6, 3], num_prefix_tokens=0)
    assert resized.shape == (1, 18, 4)
    torch.testing.assert_close(resized, expected)


def test_size_must_be_a_multiple_of_the_patch(tiny_architecture):
    with pytest.raises(ValueError, match=r'\(32, 36\) is no multiple of the patch size 8'):
        OpenCLIPVisionTransformer(tiny_architecture, image_size=(32, 36))


@pytest.mark.parametrize('layers', [1, 2])
def test_fewer_than_three_blocks_have_no_default_levels(tiny_architecture, layers):
    shallow = {**tiny_architecture, 'vision_cfg': {**tiny_architecture['vision_cfg'], 'layers': layers}}
    with pytest.raises(
        ValueError, match=rf'image tower has {layers}, counted from 0: give out_indices=.* at least three blocks'
    ):
        OpenCLIPVisionTransformer(shallow, image_size=32)
    if layers == 2:
        with pytest.raises(ValueError, match=r'blocks \(0, 2\)'):
            OpenCLIPVisionTransformer(shallow, image_size=32, out_indices=(0, 2))
        assert OpenCLIPVisionTransformer(shallow, image_size=32, out_indices=(0, 1)).out_indices == (0, 1)


def test_input_of_another_size(tiny_architecture):
    tower = OpenCLIPVisionTransformer(tiny_architecture, image_size=(32, 48))
    with pytest.raises(ValueError, match=r'built for inputs of \(32, 48\), got \(48, 32\).*LetterboxResize.size'):
        tower(torch.randn(1, 3, 48, 32))


def test_activation_checkpointing_gives_the_same_gradients(tiny_architecture):
    towers = [
        OpenCLIPVisionTransformer(tiny_architecture, image_size=32, activation_checkpointing=flag)
        for flag in (False, True)
    ]
    towers[1].load_state_dict(towers[0].state_dict())
    assert [tower.visual.transformer.grad_checkpointing for tower in towers] == [False, True]
    images = torch.randn(2, 3, 32, 32)
    for tower in towers:
        features = tower.train().encode_image(tower.embed_image(images))
        sum(feature.square().sum() for feature in (*features.levels, features.patches, features.pooled)).backward()
    expected = dict(towers[0].named_parameters())
    assert len(expected) > 60
    for name, parameter in towers[1].named_parameters():
        assert parameter.grad is not None, name
        torch.testing.assert_close(parameter.grad, expected[name].grad, msg=name)
