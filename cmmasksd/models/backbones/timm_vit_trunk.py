"""timm's ViTs inside open_clip's models: SigLIP, SigLIP 2, EVA, EVA02, PE, ViTamin, MobileCLIP-B and others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import timm
import torch
from open_clip.timm_model import TimmModel
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_relpos import VisionTransformerRelPos
from torch import Tensor, nn

from cmmasksd.models.backbones.attention_pooling import attention_parameters, pool_each_patch

POSITIONS = 'trunk.pos_embed'
_MODULES = ('vision_transformer', 'vision_transformer_hybrid', 'vision_transformer_relpos', 'eva', 'vitamin')
_POOLINGS = ('token', 'avg', 'map')


def is_vit(name: str) -> bool:
    """Whether timm's model of that name is a ViT of one of the kinds that are known here."""
    return timm.models.is_model_in_modules(name.split('.')[0], _MODULES)


def prepare(visual: TimmModel, joint_channels: int) -> str | None:
    """Gives the reason where this tower cannot be used, else None."""
    trunk = visual.trunk
    if type(trunk) not in (VisionTransformer, Eva, VisionTransformerRelPos):
        return f'is a {type(trunk).__name__}, which runs in another way than the ViTs that are known here'
    if trunk.global_pool not in _POOLINGS:
        return f'pools by {trunk.global_pool!r}, not by one of {_POOLINGS}: set vision_cfg.timm_pool'
    if not isinstance(getattr(trunk, 'patch_drop', None), (type(None), nn.Identity)):
        return 'drops patches in training, and the rest make no map: set vision_cfg.patch_dropout=0'
    if getattr(trunk, 'rope_mixed', False):
        return 'has rotary positions of each block (mixed), which open_clip uses nowhere'
    if not len(visual.head) and trunk.num_classes == 0 and trunk.embed_dim != joint_channels:
        return (
            f"has no projection, and its width {trunk.embed_dim} is not the joint space's {joint_channels}: set "
            "vision_cfg.timm_proj='linear'"
        )
    return None


def patch_size(visual: TimmModel) -> tuple[int, int]:
    """(height, width) of the picture's part below one patch, its stem included."""
    return visual.trunk.patch_embed.feat_ratio(as_scalar=False)


def grid_size(visual: TimmModel) -> tuple[int, int]:
    """(h, w) of the patches."""
    return tuple(visual.trunk.patch_embed.grid_size)


def blocks(visual: TimmModel) -> Sequence[nn.Module]:
    """The transformer's blocks."""
    return visual.trunk.blocks


def embed_dims(visual: TimmModel) -> int:
    """Width D."""
    return visual.trunk.embed_dim


def prefix(visual: TimmModel) -> int:
    """Tokens before the patches that have position embeddings."""
    trunk = visual.trunk
    return 0 if getattr(trunk, 'no_embed_class', True) else trunk.num_prefix_tokens


def embed(visual: TimmModel, images: Tensor) -> Tensor:
    """Images (B, 3, H, W) -> patch embeddings (B, N, D); of a hybrid, what its convolutions give."""
    return visual.trunk.patch_embed(images)


def leading_tokens(visual: TimmModel) -> int:
    """Tokens before the patches."""
    return visual.trunk.num_prefix_tokens


def start(visual: TimmModel, embeddings: Tensor) -> tuple[Tensor, dict[str, Any]]:
    """Patch embeddings (B, N, D) -> the blocks' input (B, prefix + N, D), and what else each block is given."""
    trunk = visual.trunk
    if isinstance(trunk, VisionTransformerRelPos):
        token, shared = trunk.cls_token, trunk.shared_rel_pos
        x = embeddings if token is None else torch.cat([token.expand(embeddings.shape[0], -1, -1), embeddings], dim=1)
        return x, dict(shared_rel_pos=None if shared is None else shared.get_bias())
    if isinstance(trunk, Eva):
        x, rotation = trunk._pos_embed(embeddings)
        return trunk.norm_pre(x), dict(rope=rotation)
    return trunk.norm_pre(trunk._pos_embed(embeddings)), {}


def recomputes(visual: TimmModel) -> bool:
    """Whether the backward pass runs each block again."""
    return visual.trunk.grad_checkpointing


def finish(visual: TimmModel, x: Tensor) -> tuple[Tensor, Tensor]:
    """The last block's output (B, prefix + N, D) -> patches (B, N, C), pooled (B, C).

    Patches in the joint space: what follows the pooling (norm, projection) is applied to each patch. So the pooled
    feature of an average-pooled tower is their mean where the norm comes before the average and the projection is
    linear. By attention (MAP), see :mod:`~cmmasksd.models.backbones.attention_pooling`.
    """
    trunk = visual.trunk
    x = trunk.norm(x)
    patches = x[:, trunk.num_prefix_tokens :]
    if _pool(visual) is not None:
        patches = pool_each_patch(_pool(visual), patches)
    patches = visual.head(trunk.head(trunk.head_drop(trunk.fc_norm(patches))))
    return patches, visual.head(trunk.forward_head(x))


def pooling_parameters(visual: TimmModel) -> Iterator[nn.Parameter]:
    """Parameters that the pooled feature alone needs."""
    return iter(()) if _pool(visual) is None else attention_parameters(_pool(visual))


def _pool(visual: TimmModel) -> Any:
    return getattr(visual.trunk, 'attn_pool', None)
