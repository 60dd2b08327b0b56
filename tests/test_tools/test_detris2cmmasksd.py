"""Checkpoints as DETRIS writes them become ours, through the command and the safe reader."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from cmmasksd.checkpoints import load_checkpoint_file
from tests.test_models.test_detris import IDS, published, segmentor
from tests.test_tools.test_etris2cmmasksd import HEAD, NECK, convert, draw, their_names

ADAPTER = [
    (r'narrow\.', 'D_fc1.'),
    (r'widen\.', 'D_fc2.'),
    (r'dense\.branch1\.0\.', 'dense_branch1.conv.'),
    (r'dense\.branch1\.1\.', 'dense_branch1.bn.'),
    (r'dense\.branch([23])\.([01])\.0\.', r'dense_branch\1.\2.conv.'),
    (r'dense\.branch([23])\.([01])\.1\.', r'dense_branch\1.\2.bn.'),
    (r'image_projection\.', 'cross.image_proj.'),
    (r'text_projection\.', 'cross.text_proj.'),
    (r'attention\.', 'cross.multihead_attn.'),
    (r'answer\.', 'cross.back_proj.'),
]


def names_of_detris(model: Any) -> dict[str, torch.Tensor]:
    """Random weights in DETRIS's layout."""
    rest = {name: tensor for name, tensor in model.state_dict().items() if name.startswith(('neck', 'decode_head'))}
    theirs = their_names(type('Part', (), dict(state_dict=lambda self: rest))(), NECK + HEAD)
    for name, tensor in model.state_dict().items():
        if adapter := re.fullmatch(r'(backbone|text_encoder)\.adapters\.(\d)\.(.+)', name):
            block = dict(backbone='dinov2.blocks', text_encoder='txt_backbone.transformer.resblocks')[adapter[1]]
            pattern, target = next(pair for pair in ADAPTER if re.match(pair[0], adapter[3]))
            theirs[f'{block}.{adapter[2]}.adapter.{re.sub("^" + pattern, target, adapter[3])}'] = draw(tensor)
        elif name.startswith('text_encoder.text.'):
            theirs[name.replace('text_encoder.text', 'txt_backbone')] = draw(tensor)
    trunk = {f'dinov2.{name}': tensor for name, tensor in published(model.backbone).items()}
    return theirs | trunk | {'txt_backbone.logit_scale': torch.ones(())}


@torch.no_grad()
def test_a_checkpoint_becomes_ours(tmp_path: Path) -> None:
    model = segmentor().eval()
    weights = names_of_detris(model)
    state = {f'module.{name}': value for name, value in weights.items()}
    done = convert('detris2cmmasksd.py', dict(epoch=65, state_dict=state, scheduler={}), tmp_path)
    assert done.returncode == 0, done.stderr
    assert f'{len(model.state_dict())} tensors written' in done.stdout
    before = model(torch.ones(3, 3, 64, 64), IDS)
    model.load_state_dict(load_checkpoint_file(tmp_path / 'ours.pth')['state_dict'], strict=True)
    adapter = model.backbone.adapters['3']
    assert torch.equal(adapter.answer.weight, weights['dinov2.blocks.3.adapter.cross.back_proj.weight'])
    five = weights['txt_backbone.transformer.resblocks.2.adapter.dense_branch3.1.conv.weight']
    assert torch.equal(model.text_encoder.adapters['2'].dense.branch3[1][0].weight, five) and five.shape[2] == 5
    class_token = weights['dinov2.cls_token'] + weights['dinov2.pos_embed'][:, :1]
    assert torch.equal(model.backbone.trunk.cls_token, class_token)
    after = model(torch.ones(3, 3, 64, 64), IDS)
    assert after.isfinite().all() and not torch.equal(before, after)
