from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cmmasksd.models import CrossModalFPN
from cmmasksd.models.necks.cross_modal_fpn import coordinates_like


def make_neck() -> CrossModalFPN:
    return CrossModalFPN(in_channels=(12, 10, 6), text_channels=6, out_channels=(4, 8, 16))


def levels_of(count: int, height: int, width: int) -> tuple[torch.Tensor, ...]:
    return tuple(torch.randn(count, channels, height, width) for channels in (12, 10, 6))


@pytest.mark.parametrize('grid', [(4, 4), (6, 4), (37, 37), (5, 8), (33, 33)])
@torch.no_grad()
def test_shapes_on_even_and_odd_grids(grid):
    neck, (height, width) = make_neck().eval(), grid
    projected = neck.project(levels_of(2, height, width))
    assert [tuple(level.shape) for level in projected] == [
        (2, 8, height, width),
        (2, 8, height, width),
        (2, 16, height // 2, width // 2),
    ]
    assert (
        neck.fuse(projected, torch.randn(2, 6)).shape == (2, neck.out_channels, height, width) == (2, 8, height, width)
    )


@torch.no_grad()
def test_projecting_and_fusing_is_the_whole():
    neck, levels, sentence = make_neck().eval(), levels_of(2, 4, 6), torch.randn(2, 6)
    torch.testing.assert_close(neck.fuse(neck.project(levels), sentence), neck(levels, sentence), rtol=0, atol=0)
    index = torch.tensor([0, 1])
    torch.testing.assert_close(neck(levels, sentence, index), neck(levels, sentence))


@pytest.mark.parametrize('train', [False, True])
@torch.no_grad()
def test_grouped_expressions_equal_repeated_images(train):
    neck, levels = make_neck().train(train), levels_of(2, 4, 4)
    # equal shares: batch statistics are those of the repeated images
    index, sentences = torch.tensor([0, 0, 1, 1]), torch.randn(4, 6)
    grouped = neck(levels, sentences, index)
    repeated = neck(tuple(level[index] for level in levels), sentences)
    torch.testing.assert_close(grouped, repeated, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_groups_of_unequal_size():
    neck, levels = make_neck().eval(), levels_of(3, 5, 5)
    index, sentences = torch.tensor([0, 0, 0, 2]), torch.randn(4, 6)
    repeated = neck(tuple(level[index] for level in levels), sentences)
    torch.testing.assert_close(neck(levels, sentences, index), repeated, rtol=1e-5, atol=1e-6)


def test_a_batch_of_one_trains():
    neck = make_neck().train()
    neck(levels_of(1, 4, 4), torch.randn(1, 6)).square().mean().backward()
    silent = [
        name
        for name, parameter in neck.named_parameters()
        if parameter.grad is None or not parameter.grad.isfinite().all()
    ]
    assert not silent
    assert neck.norm5[0].num_batches_tracked == 1
    # one value per channel: the running statistics serve, and stay
    assert neck.text_projection[1].num_batches_tracked == 0


@torch.no_grad()
def test_the_sentence_decides():
    neck, levels = make_neck().eval(), levels_of(1, 4, 4)
    fused = neck(levels, torch.randn(2, 6) * 10, torch.zeros(2, dtype=torch.long))
    assert (fused[0] - fused[1]).abs().max() > 1e-3


@torch.no_grad()
def test_the_pyramid_of_a_vit():
    neck, levels = make_neck().eval(), levels_of(2, 6, 4)
    part3, part4, level5 = neck.project(levels)
    doubled = F.conv_transpose2d(levels[0], neck.upsample.weight, neck.upsample.bias, stride=2)
    assert doubled.shape == (2, 12, 12, 8)
    torch.testing.assert_close(part3, neck.merge3.convolve(0, F.avg_pool2d(neck.project3(doubled), 2)))
    torch.testing.assert_close(part4, neck.merge4.convolve(0, neck.project4(levels[1])))
    torch.testing.assert_close(level5, neck.project5(F.max_pool2d(levels[2], 2)))


@torch.no_grad()
def test_the_pyramid_of_a_resnet_is_taken_as_it_comes():
    neck = CrossModalFPN(in_channels=(12, 10, 6), text_channels=6, out_channels=(4, 8, 16), scale_levels=False).eval()
    assert isinstance(neck.upsample, nn.Identity) and isinstance(neck.downsample, nn.Identity)
    levels = (torch.randn(1, 12, 8, 8), torch.randn(1, 10, 4, 4), torch.randn(1, 6, 2, 2))
    assert neck(levels, torch.randn(1, 6)).shape == (1, 8, 4, 4)


@pytest.mark.parametrize('train', [False, True])
@pytest.mark.parametrize('grid', [(6, 4), (5, 7)])
def test_fusing_equals_cris_concatenations(grid, train):
    neck, levels, sentence = (
        make_neck().double().train(train),
        [level.double() for level in levels_of(3, *grid)],
        torch.randn(3, 6).double(),
    )
    fused = neck(levels, sentence)
    fused.square().mean().backward()
    gradients = {name: parameter.grad.clone() for name, parameter in neck.named_parameters()}
    neck.zero_grad()
    expected = fuse_plainly(neck, levels, sentence)
    expected.square().mean().backward()
    torch.testing.assert_close(fused, expected)
    assert len(gradients) > 30
    for name, parameter in neck.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, msg=lambda text, name=name: f'{name}: {text}')


def fuse_plainly(neck: CrossModalFPN, levels: list[torch.Tensor], sentence: torch.Tensor) -> torch.Tensor:
    """Eq. 2's neck as CRIS writes it: maps are resized, laid together and convolved."""

    def resize(features: torch.Tensor) -> torch.Tensor:
        return F.interpolate(features, size=levels[1].shape[2:], mode='bilinear', align_corners=False)

    def run(block: nn.Sequential, *maps: torch.Tensor) -> torch.Tensor:
        return nn.Sequential(*block)(torch.cat(maps, dim=1))

    level3 = resize(F.avg_pool2d(neck.project3(neck.upsample(levels[0])), 2))
    level4, level5 = neck.project4(levels[1]), neck.project5(neck.downsample(levels[2]))
    fused5 = neck.norm5(level5 * neck.text_projection(sentence)[..., None, None])
    fused4 = run(neck.merge4, level4, resize(fused5))
    fused3 = run(neck.merge3, level3, fused4)
    fused = run(neck.aggregate, neck.query3(fused3), neck.query4(fused4), resize(neck.query5(fused5)))
    return neck.output(run(neck.coordinates, fused, coordinates_like(fused).expand(len(fused), -1, -1, -1)))


def test_coordinates_run_from_minus_one_to_one():
    coordinates = coordinates_like(torch.zeros(2, 3, 5, 3))
    assert coordinates.shape == (1, 2, 5, 3)
    assert coordinates[0, 0, 2].tolist() == [-1, 0, 1]  # x along a row
    assert coordinates[0, 1, :, 1].tolist() == [-1, -0.5, 0, 0.5, 1]  # y along a column
