"""Checkpoints as LAVT and LAVT-One write them become ours, through the command and the safe reader."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cmmasksd.checkpoints import load_checkpoint_file
from tests.test_models.test_lavt import IDS, SIDE, segmentor

ROOT = Path(__file__).resolve().parents[2]
# our names -> LAVT's
TOWER = [
    (r'^stages\.(\d)\.norm\.', r'norm\1.'),
    (r'^stages\.', 'layers.'),
    (r'\.fusion\.image\.', '.fusion.vis_project.'),
    (r'\.fusion\.output\.', '.fusion.project_mm.'),
    (r'\.fusion\.(query|key|value)\.', r'.fusion.image_lang_att.f_\1.0.'),
    (r'\.fusion\.answer\.', '.fusion.image_lang_att.W.0.'),
    (r'\.gate\.', '.res_gate.'),
    (r'\.mlp\.0\.', '.mlp.fc1.'),
    (r'\.mlp\.3\.', '.mlp.fc2.'),
    (r'^patch_embed\.', 'patch_embed.proj.'),
    (r'^patch_norm\.', 'patch_embed.norm.'),
]


def names_of_lavt(model: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Random weights of LAVT without BERT, and of BERT, in their layout."""
    torch.manual_seed(9)
    lavt, bert = {}, {}
    for name, tensor in model.state_dict().items():
        value = torch.rand_like(tensor) + 0.1 if tensor.is_floating_point() else tensor
        part, _, rest = name.partition('.')
        if part == 'text_encoder':
            bert[rest.removeprefix('encoder.')] = value
        elif part == 'backbone':
            rest = re.sub(r'^stages\.(\d)\.merge\.', lambda at: f'layers.{int(at[1]) - 1}.downsample.', rest)
            for ours, theirs in TOWER:
                rest = re.sub(ours, theirs, rest)
            if '.fusion.' in rest and value.dim() == 2:
                value = value[:, :, None]
            lavt[f'backbone.{rest}'] = value.view(9, 9) if rest.endswith('position_index') else value
        elif part == 'neck':
            place, block, layer, rest = re.fullmatch(r'merges\.(\d)\.(\d)\.(\d)\.(.+)', rest).groups()
            lavt[f'classifier.{("conv", "bn")[int(layer)]}{int(block) + 1}_{4 - int(place)}.{rest}'] = value
        else:
            lavt[name.replace('decode_head.classes', 'classifier.conv1_1')] = value
    width = model.backbone.out_channels[3]
    lavt |= {f'backbone.layers.3.res_gate.{place}.weight': torch.rand(width, width) for place in (0, 2)}
    bert |= {'embeddings.position_ids': torch.arange(512)[None], 'pooler.dense.weight': torch.rand(12, 12)}
    return lavt, bert


@pytest.fixture
def model() -> Any:
    return segmentor()


@pytest.mark.parametrize('one', [False, True])
@torch.no_grad()
def test_a_checkpoint_becomes_ours(model: Any, tmp_path: Path, one: bool) -> None:
    lavt, bert = names_of_lavt(model)
    if one:
        content: dict[str, Any] = {'model': lavt | {f'text_encoder.{name}': value for name, value in bert.items()}}
    else:
        content = {'model': lavt, 'bert_model': bert}
    content |= dict(optimizer={}, epoch=39, args=argparse.Namespace(swin_type='base', lr=5e-5), lr_scheduler={})
    torch.save(content, tmp_path / 'refcoco.pth')
    command = [sys.executable, ROOT / 'tools/model_converters/lavt2cmmasksd.py', 'refcoco.pth', 'ours.pth']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f'{len(model.state_dict())} tensors written' in done.stdout
    converted = load_checkpoint_file(tmp_path / 'ours.pth')['state_dict']
    before = model.eval()(torch.ones(3, 3, SIDE, SIDE), IDS)
    model.load_state_dict(converted, strict=True)
    fusion = model.backbone.stages[2].fusion
    theirs = lavt['backbone.layers.2.fusion.image_lang_att.f_value.0.weight']
    assert torch.equal(fusion.value.weight, theirs[:, :, 0])
    assert torch.equal(model.neck.merges[2][1][1].running_var, lavt['classifier.bn2_2.running_var'])
    assert torch.equal(model.decode_head.classes.weight, lavt['classifier.conv1_1.weight'])
    after = model(torch.ones(3, 3, SIDE, SIDE), IDS)
    assert after.isfinite().all() and not torch.equal(before, after)


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        ({'model': {'neck.f1_v_proj.0.weight': torch.zeros(1)}}, "'neck.f1_v_proj.0.weight' is no parameter of LAVT"),
        ({'model': {'classifier.conv1_1.bias': torch.zeros(2)}}, 'there is no BERT in it'),
    ],
)
def test_what_is_not_lavt_is_refused(tmp_path: Path, content: dict, said: str) -> None:
    torch.save(content, tmp_path / 'other.pth')
    command = [sys.executable, ROOT / 'tools/model_converters/lavt2cmmasksd.py', 'other.pth', 'ours.pth']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and said in done.stderr and 'Traceback' not in done.stderr
    assert not (tmp_path / 'ours.pth').exists()
