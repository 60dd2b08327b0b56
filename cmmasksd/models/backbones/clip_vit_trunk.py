"""open_clip's own ViT: CLIP, OpenCLIP, DFN, MetaCLIP ([class] token), CLIPA (average), CoCa (attention)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from cmmasksd.models.backbones.attention_pooling import attention_parameters, pool_each_patch
from cmmasksd.models.layers import use_fused_attention

POSITIONS = 'positional_embedding'


def prepare(visual: VisionTransformer, joint_channels: int) -> str | None:
    """Switches to the fused attention; gives the reason where this tower cannot be used, else None."""
    if not isinstance(visual.patch_dropout, nn.Identity):
        return 'drops patches in training, and the rest make no map: set vision_cfg.patch_dropout=0'
    if visual.attn_pool is None and visual.pool_type == 'none':
        return "pools nothing (pool_type='none'), so there is no feature of the whole image: set pool_type='tok'"
    if getattr(visual, 'attn_pool_contrastive', None) is not None:
        return 'has two attention poolings, which open_clip itself calls untested: set attentional_pool=True'
    use_fused_attention(visual)
    return None


def patch_size(visual: VisionTransformer) -> tuple[int, int]:
    """(height, width) of the picture's part that a patch is."""
    return visual.patch_size


def grid_size(visual: VisionTransformer) -> tuple[int, int]:
    """(h, w) of the patches."""
    return visual.grid_size


def blocks(visual: VisionTransformer) -> Sequence[nn.Module]:
    """The transformer's blocks."""
    return visual.transformer.resblocks


def embed_dims(visual: VisionTransformer) -> int:
    """Width D."""
    return visual.transformer.width


def prefix(visual: VisionTransformer) -> int:
    """Tokens before the patches that have position embeddings: the [class] token, which every such tower has."""
    return 1


def embed(visual: VisionTransformer, images: Tensor) -> Tensor:
    """Images (B, 3, H, W) -> patch embeddings (B, N, D)."""
    return visual.conv1(images).flatten(2).transpose(1, 2)


def leading_tokens(visual: VisionTransformer) -> int:
    """Tokens before the patches: the [class] token."""
    return 1


def start(visual: VisionTransformer, embeddings: Tensor) -> tuple[Tensor, dict[str, Any]]:
    """Patch embeddings (B, N, D) -> the blocks' input (B, 1 + N, D), and what else each block is given."""
    class_token = visual.class_embedding.expand(embeddings.shape[0], 1, -1)
    x = torch.cat([class_token.to(embeddings.dtype), embeddings], dim=1)
    return visual.ln_pre(x + visual.positional_embedding.to(x.dtype)), {}


def recomputes(visual: VisionTransformer) -> bool:
    """Whether the backward pass runs each block again."""
    return visual.transformer.grad_checkpointing


def finish(visual: VisionTransformer, x: Tensor) -> tuple[Tensor, Tensor]:
    """The last block's output (B, 1 + N, D) -> patches (B, N, C), pooled (B, C).

    Patches in the joint space: where the tower pools by its [class] token or by the average, ``ln_post`` and projection
    are applied to each patch; by attention, see :mod:`~cmmasksd.models.backbones.attention_pooling`. The average is
    taken before ``ln_post`` where open_clip does so (CLIPA); after it, the pooled feature is the patches' mean.
    """
    if visual.attn_pool is not None:
        patches = visual.ln_post(pool_each_patch(visual.attn_pool, x[:, 1:])) @ visual.proj
        return patches, visual._pool(x)[0] @ visual.proj
    joint = visual.ln_post(x) @ visual.proj  # (B, 1 + N, C)
    patches = joint[:, 1:]
    if visual.pool_type == 'tok':
        return patches, joint[:, 0]
    if visual.final_ln_after_pool:
        return patches, visual.ln_post(x[:, 1:].mean(dim=1)) @ visual.proj
    return patches, patches.mean(dim=1)


def pooling_parameters(visual: VisionTransformer) -> Iterator[nn.Parameter]:
    """Parameters that the pooled feature alone needs."""
    return iter(()) if visual.attn_pool is None else attention_parameters(visual.attn_pool)
