from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmmasksd.models.convolutions import (
    ConcatConvBNReLU,
    ConvBNReLU,
    EnlargeConcatConvBNReLU,
    UpsampleConvBNReLU,
    upsample_conv3x3,
)


def make_map(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64).contiguous(memory_format=torch.channels_last)


def upsample_then_conv3x3(features: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(F.interpolate(features, scale_factor=2, mode='bilinear', align_corners=False), weight, padding=1)


@pytest.mark.parametrize('kernel_size', [1, 3])
def test_conv_block_keeps_the_size(kernel_size):
    block = ConvBNReLU(3, 4, kernel_size)
    out = block(torch.randn(2, 3, 5, 7))
    assert out.shape == (2, 4, 5, 7) and out.min() >= 0
    assert block[0].bias is None


@pytest.mark.parametrize('shape', [(1, 5, 1, 1), (1, 5, 1, 4), (3, 5, 4, 4), (2, 5, 3, 7), (2, 5, 36, 37)], ids=str)
def test_upsampling_and_convolving_on_the_small_map(shape):
    features, weight = (
        make_map(*shape).requires_grad_(),
        torch.randn(6, 5, 3, 3, dtype=torch.float64, requires_grad=True),
    )
    out, expected = upsample_conv3x3(features, weight), upsample_then_conv3x3(features, weight)
    assert out.shape == (shape[0], 6, 2 * shape[2], 2 * shape[3])
    torch.testing.assert_close(out, expected)
    upstream = torch.randn_like(expected)
    for ours, plain in zip(
        *(torch.autograd.grad(result, (features, weight), upstream) for result in (out, expected)), strict=True
    ):
        torch.testing.assert_close(ours, plain)


@torch.no_grad()
def test_upsampling_and_convolving_costs_less_than_half():
    from torch.utils.flop_counter import FlopCounterMode

    counts = []
    for function in (upsample_conv3x3, upsample_then_conv3x3):
        with FlopCounterMode(display=False) as counter:
            function(torch.zeros(1, 512, 36, 36, device='meta'), torch.zeros(256, 512, 3, 3, device='meta'))
        counts.append(counter.get_total_flops())
    assert 0 < counts[0] < 0.4 * counts[1]


@torch.no_grad()
def test_upsampling_and_convolving_in_bfloat16_is_as_exact_as_plainly():
    features, weight = make_map(2, 64, 9, 8), torch.randn(16, 64, 3, 3, dtype=torch.float64)
    exact = upsample_then_conv3x3(features, weight)
    features, weight = features.bfloat16(), weight.bfloat16()
    errors = [
        (function(features, weight).double() - exact).square().mean().sqrt()
        for function in (upsample_conv3x3, upsample_then_conv3x3)
    ]
    assert 0 < errors[0] < 1.5 * errors[1]


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_the_upsampling_block_under_autocast(dtype):
    block, features = UpsampleConvBNReLU(5, 6), torch.randn(2, 5, 3, 4)
    plain = nn.Sequential(nn.Upsample(scale_factor=2, mode='bilinear'), *block)
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
        out, expected = block(features), plain(features)
    assert out.dtype == expected.dtype and out.shape == (2, 6, 6, 8)
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-5 if dtype is torch.float32 else 0.05)


@pytest.mark.parametrize('kernel_size', [1, 3])
def test_concatenations_are_convolved_part_by_part(kernel_size):
    block = ConcatConvBNReLU((2, 3, 4), 6, kernel_size).double()
    maps = [make_map(2, channels, 5, 4) for channels in (2, 3, 4)]
    out = block(*(block.convolve(place, features) for place, features in enumerate(maps)))
    torch.testing.assert_close(out, nn.Sequential(*block)(torch.cat(maps, dim=1)))
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert {name: tuple(value.shape) for name, value in block.named_parameters()} == {
        '0.weight': (6, 9, kernel_size, kernel_size),
        '1.weight': (6,),
        '1.bias': (6,),
    }


def test_a_coarser_map_may_be_convolved_before_it_is_enlarged():
    block, fine, coarse = ConcatConvBNReLU((2, 3), 6, 1).double(), make_map(2, 2, 7, 6), make_map(2, 3, 3, 3)
    out = block(block.convolve(0, fine), block.convolve(1, coarse))
    enlarged = F.interpolate(coarse, size=(7, 6), mode='bilinear', align_corners=False)
    torch.testing.assert_close(out, nn.Sequential(*block)(torch.cat([fine, enlarged], dim=1)))


def test_larger_kernels_need_one_grid():
    block = ConcatConvBNReLU((2, 3), 6, 3)
    with pytest.raises(ValueError, match=r'one grid, got \(8, 6\) and \(4, 3\)'):
        block(block.convolve(0, torch.randn(1, 2, 8, 6)), block.convolve(1, torch.randn(1, 3, 4, 3)))


def test_parts_are_not_written_into():
    block = ConcatConvBNReLU((2, 3), 6, 1)
    parts = [block.convolve(0, torch.randn(2, 2, 4, 4)), block.convolve(1, torch.randn(2, 3, 4, 4))]
    before = [part.clone() for part in parts]
    block(*parts)
    for part, value in zip(parts, before, strict=True):
        assert torch.equal(part, value)


@pytest.mark.parametrize('fine', [(8, 10), (7, 9), (4, 5)])
def test_an_enlarged_map_beside_a_finer_one_is_what_lavt_convolves(fine: tuple[int, int]) -> None:
    torch.manual_seed(0)
    block = EnlargeConcatConvBNReLU((6, 3), 5).double().eval()
    coarse = torch.randn(2, 6, 4, 5, dtype=torch.float64, requires_grad=True)
    other = torch.randn(2, 3, *fine, dtype=torch.float64)
    enlarged = F.interpolate(coarse, size=fine, mode='bilinear', align_corners=True)
    expected = nn.Sequential(*block)(torch.cat([enlarged, other], dim=1))
    found = block(coarse, other)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(each.square().sum(), coarse)[0] for each in (found, expected)]
    torch.testing.assert_close(*gradients)
    assert gradients[0].any()
