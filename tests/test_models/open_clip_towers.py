"""Small copies of the kinds of towers that open_clip knows: the same configs, with few and narrow layers."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import open_clip
import timm
import torch
from torch import nn

from cmmasksd.models.text_encoders.token_roles import roles_of_tower

SOT, EOT = 49406, 49407

# family -> a model of it, and what makes timm's trunk small
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    'CLIP': ('ViT-B-16-quickgelu', {}),
    'layer scale': ('ViT-M-16-alt', {}),
    'CLIPA': ('ViT-L-14-CLIPA', {}),
    'CoCa': ('coca_ViT-B-32', {}),
    'SigLIP': ('ViT-B-16-SigLIP', dict(embed_dim=24, num_heads=4)),
    'SigLIP 2': ('ViT-SO400M-14-SigLIP2', dict(embed_dim=24, num_heads=4)),
    'EVA': ('EVA01-g-14', dict(embed_dim=32, num_heads=4)),
    'EVA02': ('EVA02-L-14', dict(embed_dim=32, num_heads=4)),
    'EVA02 post-norm': ('EVA02-E-14', dict(embed_dim=32, num_heads=4)),
    'PE': ('PE-Core-B-16', dict(embed_dim=32, num_heads=2, attn_pool_num_heads=2)),
    'PE without a class token': ('PE-Core-bigG-14-448', dict(embed_dim=32, num_heads=2, attn_pool_num_heads=2)),
    'ViTamin': ('ViTamin-S', dict(num_heads=4)),
    'MobileCLIP-B': ('MobileCLIP-B', {}),
    'MobileCLIP2-L': ('MobileCLIP2-L-14', dict(embed_dim=32, num_heads=4)),
    'average': ('vit_medium_patch16_gap_256', dict(embed_dim=32, num_heads=4)),
    'relative positions': ('vit_relpos_medium_patch16_cls_224', dict(embed_dim=32, num_heads=4)),
}
DEPTH, JOINT = 3, 24  # SigLIP's towers have no projection: their width is that of the joint space


def small_config(name: str, vocab_size: int | None = None) -> dict[str, Any]:
    """open_clip's config with few and narrow layers; timm's trunks are made small by :func:`small_trunks`."""
    config = copy.deepcopy(open_clip.get_model_config(name))
    vision, text = config['vision_cfg'], config['text_cfg']
    config['embed_dim'] = JOINT
    if not vision.get('timm_model_name'):
        vision.update(layers=DEPTH, width=32, head_width=8, attn_pooler_heads=4)
    if not text.get('hf_model_name'):
        text.update(layers=2, width=32, heads=4)
        if text.get('proj_type') == 'none':
            text.update(width=JOINT)
    if vocab_size is not None:
        text['vocab_size'] = vocab_size
    if 'multimodal_cfg' in config:
        config['multimodal_cfg'].update(layers=1, width=32, heads=4)
    return config


@contextmanager
def small_trunks(**options: Any) -> Iterator[None]:
    """Within the block timm's ViTs come with few layers, and with other options."""
    create = timm.create_model

    def create_small(name: str, **given: Any) -> nn.Module:
        return create(name, **given, depth=DEPTH, **options)

    with mock.patch('timm.create_model', create_small):
        yield


def open_clips_model(config: dict[str, Any], size: int) -> nn.Module:
    """open_clip's whole model of a config, at an input's size, with random weights that are no zeros."""
    config = copy.deepcopy(config)
    config['vision_cfg']['image_size'] = size
    config['text_cfg']['hf_model_pretrained'] = False
    custom = config.pop('custom_text', False) or 'hf_model_name' in config['text_cfg']
    kind = open_clip.CoCa if 'multimodal_cfg' in config else open_clip.CustomTextCLIP if custom else open_clip.CLIP
    model = kind(**config)
    if hasattr(model.visual, 'set_input_size'):
        model.visual.set_input_size((size, size))
    return randomise(model).eval()


def randomise(model: nn.Module) -> nn.Module:
    """Gives every parameter values of its own: many start as zeros or ones, which hides what they do."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def rows_of_ids(text_cfg: dict[str, Any], words: list[int]) -> torch.Tensor:
    """Ids (E, context length) of sentences with so many words, as the tower's tokenizer would give them."""
    roles = roles_of_tower(text_cfg)
    length = text_cfg.get('context_length', 77)
    start = [SOT] if roles.end == 'largest' else list(roles.starts)
    end = EOT if roles.end == 'largest' else roles.end[0]
    pad = end if text_cfg.get('pool_type') == 'last' else 0
    rows = [[*start, *torch.randint(300, 599, (count,)).tolist(), end] for count in words]
    return torch.tensor([row + [pad] * (length - len(row)) for row in rows])
