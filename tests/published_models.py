"""Small checkpoints, and the folders that are published of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

from cmmasksd.registry import MODELS

SIZE = (32, 48)


def architecture() -> dict[str, Any]:
    """open_clip's config of a CLIP: D 16, D_t 8, C 8."""
    return dict(
        embed_dim=8,
        quick_gelu=True,
        vision_cfg=dict(image_size=32, patch_size=8, layers=6, width=16, head_width=8),
        text_cfg=dict(context_length=77, vocab_size=49408, layers=1, width=8, heads=2),
    )


def make_config(text_encoder: dict[str, Any] | None = None, **tokens: Any) -> Config:
    """A whole config of a small segmentor with both branches; ``tokens``: of TokenizeExpressions."""
    model = dict(
        type='ReferringSegmentor',
        data_preprocessor=dict(type='ReferringDataPreprocessor'),
        backbone=dict(type='OpenCLIPVisionTransformer', architecture=architecture(), image_size=SIZE),
        text_encoder=text_encoder or dict(type='OpenCLIPTextTransformer', architecture=architecture()),
        neck=dict(type='CrossModalFPN', in_channels=(16, 16, 8), text_channels=8, out_channels=(8, 16, 32)),
        decode_head=dict(
            type='VisionLanguageDecodeHead', channels=16, word_channels=8, text_channels=8, num_layers=1, num_heads=2,
            feedforward_channels=32, dropout=0.0, loss_decode=dict(type='torch.BCEWithLogitsLoss'),
        ),
        distillation=[dict(type='LMVSD', shared=False), dict(type='VMLSD')],
        threshold=0.25,
    )  # fmt: skip
    pipeline = [
        dict(type='LoadReferringImage'),
        dict(type='SelectSentences', mode='all'),
        dict(type='LoadReferringMasks'),
        dict(type='LetterboxResize', size=SIZE, resize_masks=False),
        dict(type='TokenizeExpressions', **dict(dict(token_length=9), **tokens)),
        dict(type='PackReferringInputs'),
    ]
    data = dict(type='RefCOCODataset', data_root='/home/me/secret', dataset='mine', split='val', pipeline=pipeline)
    return Config(
        dict(default_scope='cmmasksd', model=model, train_dataloader=dict(dataset=data),
             val_dataloader=dict(dataset=data), test_dataloader=dict(dataset=data))
    )  # fmt: skip


def save_checkpoint(cfg: Config, path: Path, **meta: Any) -> nn.Module:
    """A model of random weights and statistics, saved as a training run does; gives the model."""
    torch.manual_seed(3)
    with DefaultScope.overwrite_default_scope('cmmasksd'):
        model = MODELS.build(cfg.model)
    for name, buffer in model.named_buffers():
        if name.endswith('running_mean'):
            buffer.uniform_(-0.1, 0.1)
    torch.save(dict(meta=meta, state_dict=model.state_dict(), optimizer={}), path)
    return model


def write_config(cfg: Config, path: Path) -> None:
    """The config as a file, without the formatting of mmengine, which takes seconds."""
    path.write_text('\n'.join(f'{name} = {value!r}' for name, value in cfg.to_dict().items()))
