"""The path of several accelerators: torch's own synchronised batch norm, on two real processes, with kernels for CPUs.

torch has the kernels of ``nn.SyncBatchNorm`` for accelerators alone. Here they are written out in plain tensors and
inputs claim to lie on one; exchange, counting and all that is ours run as they are.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from cmmasksd.models.layers import BatchNorm, frozen_statistics, joint_statistics
from tests.forking import run_ranks

BRANCHES, PROCESSES, CHANNELS = 3, 2, 5


class Claiming(Tensor):
    """A tensor that says it lies on a GPU."""

    device = property(lambda self: torch.device('cuda'))


def _stats(input: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    values = input.as_subclass(Tensor).transpose(0, 1).flatten(1)
    return values.mean(dim=1), (values.var(dim=1, unbiased=False) + eps).rsqrt()


def _gather(
    input: Tensor,
    means: Tensor,
    inverse_deviations: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    momentum: float,
    eps: float,
    counts: Tensor,
) -> tuple[Tensor, Tensor]:
    shares, total = (counts / counts.sum())[:, None], counts.sum()
    mean = (shares * means).sum(dim=0)
    squares = inverse_deviations**-2 - eps + means**2
    variance = (shares * squares).sum(dim=0) - mean**2
    if running_mean is not None and running_var is not None:
        running_mean.lerp_(mean, momentum)
        running_var.lerp_(variance * total / (total - 1), momentum)
    return mean, (variance + eps).rsqrt()


def _apply(input: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, inverse: Tensor, eps: float) -> Tensor:
    shape = (1, -1, *[1] * (input.dim() - 2))
    values = (input.as_subclass(Tensor) - mean.view(shape)) * inverse.view(shape)
    return values * weight.view(shape) + bias.view(shape)


def _make_norm() -> BatchNorm:
    norm = BatchNorm(CHANNELS).double()
    generator = torch.Generator().manual_seed(1)
    for tensor in (norm.weight.data, norm.bias.data, norm.running_mean):
        tensor.copy_(torch.randn(CHANNELS, generator=generator, dtype=torch.float64))
    return norm


def _make_branches(rank: int, shape: tuple[int, ...]) -> list[Tensor]:
    """Each process and branch has numbers of its own scale, so that a statistic of the wrong ones is told apart."""
    generator = torch.Generator().manual_seed(10 + rank)
    count = shape[0] + rank  # processes need not have equally many
    scales = [(1 + rank) * 3.0**branch for branch in range(BRANCHES)]
    return [torch.randn(count, *shape[1:], generator=generator, dtype=torch.float64) * s + s for s in scales]


def normalise(shape: tuple[int, ...], folder: Path) -> None:
    """One process: normalises its share of the joint batch."""
    torch.batch_norm_stats, torch.batch_norm_elemt = _stats, _apply
    torch.batch_norm_gather_stats_with_counts = _gather
    norm, branches = _make_norm(), _make_branches(dist.get_rank(), shape)
    with torch.no_grad(), joint_statistics(BRANCHES, norm):
        outputs = norm(torch.cat(branches).as_subclass(Claiming)).chunk(BRANCHES)
    outputs = [output.as_subclass(Tensor) for output in outputs]
    torch.save({'outputs': outputs, 'buffers': dict(norm.named_buffers())}, folder / f'{dist.get_rank()}.pt')


@pytest.mark.parametrize('shape', [(4, CHANNELS), (3, CHANNELS, 4, 2), (1, CHANNELS)], ids=str)
def test_joint_branches_are_synchronised_each_by_itself(shape: tuple[int, ...], tmp_path: Path) -> None:
    """As if each branch of all processes had come alone in one process; the first branch moves the statistics."""
    run_ranks(normalise, PROCESSES, tmp_path, shape, tmp_path)
    alone = _make_norm()
    parts = [_make_branches(rank, shape) for rank in range(PROCESSES)]
    whole = [torch.cat([part[branch] for part in parts]) for branch in range(BRANCHES)]
    expected = [alone(whole[0])]
    with frozen_statistics(alone):
        expected += [alone(branch) for branch in whole[1:]]
    done = 0
    for rank in range(PROCESSES):
        found = torch.load(tmp_path / f'{rank}.pt', weights_only=True)
        start = sum(len(part[0]) for part in parts[:rank])
        for output, value in zip(found['outputs'], expected, strict=True):
            torch.testing.assert_close(output, value[start : start + len(output)])
            done += len(output)
        for name, buffer in alone.named_buffers():
            torch.testing.assert_close(found['buffers'][name], buffer, msg=name)
    assert done == sum(map(len, whole)) > 0
    assert alone.num_batches_tracked == 1


def test_an_accelerator_alone_needs_no_synchronising() -> None:
    """One process: torch's plain batch norm, whatever the device."""
    x, norm, plain = torch.randn(4, CHANNELS).double(), _make_norm(), nn.BatchNorm1d(CHANNELS).double()
    plain.load_state_dict(norm.state_dict())
    torch.testing.assert_close(norm(x.as_subclass(Claiming)).as_subclass(Tensor), plain(x))
