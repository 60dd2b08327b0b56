"""DINOv2's published weights, under the names that timm gives them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def rename_dinov2(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The published weights of a DINOv2 with registers (``dinov2_vitb14_reg4_pretrain.pth``), or those of timm, as
    timm's.

    There the [class] token has a position of its own, which is always added to it: here it is part of it. The mask
    token is left out, for nothing reads it.
    """
    renamed = {name: tensor for name, tensor in weights.items() if name != 'mask_token'}
    if 'register_tokens' not in renamed:
        return renamed
    positions = renamed['pos_embed']
    renamed['reg_token'] = renamed.pop('register_tokens')
    renamed |= dict(cls_token=renamed['cls_token'] + positions[:, :1], pos_embed=positions[:, 1:])
    return renamed
