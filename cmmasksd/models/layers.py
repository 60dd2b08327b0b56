"""Layers that several components share: batch norm of a branch, fused attention."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cmmasksd.models.attention import attend


class BatchNorm(_BatchNorm):
    """Batch norm of one branch: synchronised across the accelerators of several processes, plain otherwise, chosen at
    each call.

    Inputs are (E, C) or (E, C, h, w). A batch that holds a single value per channel has no variance: it is normalised
    by the running statistics, where torch (and CRIS) raise. Not a subclass of ``nn.SyncBatchNorm``, which mmengine
    replaces by another class when it runs in one process. Parameter and buffer names are those of ``nn.BatchNorm2d``.

    Attributes:
        branches: how many branches the batch holds, one after the other; set by :func:`joint_statistics`.
    """

    branches = 1
    process_group = None
    _check_non_zero_input_channels = nn.SyncBatchNorm._check_non_zero_input_channels

    def forward(self, input: Tensor) -> Tensor:
        """Normalises ``input`` (E, C, ...) and returns the same shape."""
        self._check_input_dim(input)
        if not self.training or self.branches == 1:
            return self._normalise(input)
        first, *others = input.chunk(self.branches)
        normalised = [self._normalise(first)]
        with frozen_statistics(self):
            normalised += [self._normalise(branch) for branch in others]
        return torch.cat(normalised)

    def _normalise(self, input: Tensor) -> Tensor:
        if input.device.type != 'cpu' and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            return nn.SyncBatchNorm.forward(self, input)  # type: ignore[arg-type]  # it needs no more than a batch norm has
        if self.training and input.numel() == input.shape[1]:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
            )
        return super().forward(input)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f'BatchNorm takes (E, C, ...), got {tuple(input.shape)}.')


@contextmanager
def frozen_statistics(*modules: nn.Module) -> Iterator[None]:
    """Within the block the batch norms of ``modules`` normalise by the batch but leave their running statistics alone.

    The distillation branches run the main branch's layers in such a block, for at inference only the main branch is
    left.
    """
    norms = [
        layer
        for module in modules
        for layer in module.modules()
        if isinstance(layer, _BatchNorm) and layer.track_running_stats
    ]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def foreign_norms(*modules: nn.Module) -> set[str]:
    """Names of the kinds of batch norm in ``modules`` that know nothing of branches."""
    norms = (layer for module in modules for layer in module.modules() if isinstance(layer, _BatchNorm))
    return {type(norm).__name__ for norm in norms if not isinstance(norm, BatchNorm)}


@contextmanager
def joint_statistics(branches: int, *modules: nn.Module) -> Iterator[None]:
    """Within the block the batches of ``modules`` hold several branches (see
    :func:`~cmmasksd.structures.join_branches`).

    Each branch is normalised by itself, as if it came alone, and the running statistics follow the first one.

    Raises:
        ValueError: a module holds batch norms other than :class:`BatchNorm`, which would mix the branches.
    """
    foreign = foreign_norms(*modules)
    if foreign:
        raise ValueError(
            f'{", ".join(sorted(foreign))} would mix the statistics of the branches: give the segmentor '
            'joint_branches=False.'
        )
    ours = [layer for module in modules for layer in module.modules() if isinstance(layer, BatchNorm)]
    for norm in ours:
        norm.branches = branches
    try:
        yield
    finally:
        for norm in ours:
            norm.branches = 1


class MultiheadAttention(nn.MultiheadAttention):
    """``nn.MultiheadAttention``, batch first, that always runs torch's scaled-dot-product kernel.

    torch's own forward leaves that kernel for a slower one in evaluation: with 1,297 tokens of width 768 on one CPU
    core this one took 0.55 to 0.60 of its time there, and 0.82 to 0.95 in training (torch 2.11, CPU time, three
    rounds). Parameters, their names and their initialisation are torch's.
    """

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, kdim: int | None = None, vdim: int | None = None
    ) -> None:
        super().__init__(embed_dim, num_heads, dropout=dropout, kdim=kdim, vdim=vdim, batch_first=True)

    def forward(  # type: ignore[override]
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = False,
        attn_mask: Tensor | None = None,
    ) -> tuple[Tensor, None]:
        """Attends.

        Args:
            query: (B, Q, D).
            key: (B, K, kdim).
            value: (B, K, vdim).
            key_padding_mask: (B, K) bool, True at keys to ignore; not together with ``attn_mask``.
            need_weights: for the signature's sake; the fused kernel has no weights to give.
            attn_mask: (Q, K) or (B, heads, Q, K), added to the scores, or bool, True where attention is allowed *not*
                to go (torch's meaning).

        Returns:
            (B, Q, D) and None.
        """
        if need_weights:
            raise ValueError('The fused attention kernel gives no attention weights: call it with need_weights=False.')
        if key_padding_mask is not None:
            attn_mask = ~key_padding_mask[:, None, None, :]
        elif attn_mask is not None and attn_mask.dtype.is_floating_point is False:
            attn_mask = ~attn_mask
        # (B, heads, len, D/heads)
        heads = [x.unflatten(2, (self.num_heads, -1)).transpose(1, 2) for x in self._project(query, key, value)]
        attended = attend(*heads, attn_mask=attn_mask, dropout_p=self.dropout if self.training else 0.0)
        return self.out_proj(attended.transpose(1, 2).flatten(2)), None

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        if query is key and key is value:
            return F.linear(query, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        if self._qkv_same_embed_dim:
            weights = self.in_proj_weight.chunk(3)
        else:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        return tuple(
            F.linear(x, weight, bias)
            for x, weight, bias in zip((query, key, value), weights, self.in_proj_bias.chunk(3))
        )


def use_fused_attention(transformer: nn.Module) -> None:
    """Makes every ``nn.MultiheadAttention`` of an open_clip tower run :class:`MultiheadAttention`'s forward;
    parameters stay what they are.
    """
    for layer in transformer.modules():
        if type(layer) is nn.MultiheadAttention:
            layer.__class__ = MultiheadAttention
