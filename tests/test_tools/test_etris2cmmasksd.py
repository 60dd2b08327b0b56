"""Checkpoints as ETRIS writes them become ours, through the command and the safe reader."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cmmasksd.checkpoints import load_checkpoint_file
from tests.test_models.test_etris import IDS, segmentor

ROOT = Path(__file__).resolve().parents[2]
HEAD = [
    (r'decode_head\.projector\.mix', 'proj.vis.4'),
    (r'decode_head\.projector\.upsample\.0', 'proj.vis.1'),
    (r'decode_head\.projector\.upsample\.1', 'proj.vis.3'),
    (r'decode_head\.projector\.kernel', 'proj.txt'),
    (r'decode_head\.layers\.(\d)\.self_attention_norm', r'decoder.layers.\1.self_attn_norm'),
    (r'decode_head\.layers\.(\d)\.cross_attention_norm', r'decoder.layers.\1.cross_attn_norm'),
    (r'decode_head\.layers\.(\d)\.self_attention', r'decoder.layers.\1.self_attn'),
    (r'decode_head\.layers\.(\d)\.cross_attention', r'decoder.layers.\1.multihead_attn'),
    (r'decode_head\.layers\.(\d)\.feedforward', r'decoder.layers.\1.ffn'),
    (r'decode_head\.layers', 'decoder.layers'),
    (r'decode_head\.norm', 'decoder.norm'),
]
NECK = [
    (r'neck\.text_projection', 'neck.txt_proj'),
    (r'neck\.levels\.(\d)', lambda at: f'neck.f{int(at[1]) + 3}_proj'),
    (r'neck\.aggregate', 'neck.aggr'),
    (r'neck\.coordinates', 'neck.coordconv.0.conv1'),
    (r'neck\.output', 'neck.coordconv.1'),
]
TOWERS = [
    (r'backbone\.visual', 'backbone.visual'),
    (r'text_encoder\.text', 'backbone'),
]
BRIDGE = [
    (
        r'bridge\.crossings\.(\d)\.(image|text)_norm',
        lambda at: f'bridger.ln_{at[2][0].replace("i", "v")}.{int(at[1]) - 1}',
    ),
    (r'bridge\.crossings\.(\d)\.tell_image\.attention', r'bridger.fusion_v.\1.multihead_attn'),
    (r'bridge\.crossings\.(\d)\.tell_text\.attention', r'bridger.fusion_t.\1.multihead_attn'),
    (r'bridge\.crossings\.(\d)\.tell_image', r'bridger.fusion_v.\1'),
    (r'bridge\.crossings\.(\d)\.tell_text', r'bridger.fusion_t.\1'),
    (r'bridge\.crossings\.(\d)\.narrow_image', r'bridger.zoom_in.\1'),
    (r'bridge\.crossings\.(\d)\.widen_image', r'bridger.zoom_out.\1'),
    (r'bridge\.crossings\.(\d)\.narrow_text', r'bridger.linear1.\1'),
    (r'bridge\.crossings\.(\d)\.widen_text', r'bridger.linear2.\1'),
]
TURNED = ('bridger.zoom_out.0', 'bridger.zoom_out.1', 'bridger.zoom_in.2', 'neck.f5_proj')  # transposed convolutions


def draw(tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    return torch.randn_like(tensor) * 0.05 if tensor.dim() > 1 else torch.rand_like(tensor) + 0.1


def their_names(model: Any, names: list[tuple[str, Any]]) -> dict[str, Tensor]:
    """Random weights of a model of ours in the layout of ETRIS or DETRIS, the neck's queries and keys among them."""
    torch.manual_seed(9)
    theirs = {}
    for name, tensor in model.state_dict().items():
        value = draw(tensor)
        if gate := re.fullmatch(r'neck\.gates\.(\d)\.([01])\.(weight|bias)', name):
            level = f'neck.fusion{int(gate[1]) + 3}.multihead_attn'
            if gate[2] == '0':
                value = torch.cat([torch.rand_like(value), torch.rand_like(value), value])
            theirs[f'{level}.in_proj_{gate[3]}' if gate[2] == '0' else f'{level}.out_proj.{gate[3]}'] = value
            continue
        pattern, target = next(pair for pair in names if re.match(pair[0] + r'\.', name))
        other = re.sub('^' + pattern, target, name)
        if other == 'proj.vis.4.weight':
            value = value[:, :, None, None]
        if other.startswith(TURNED) and value.dim() == 4 and value.shape[3] == 1:
            value = value.transpose(0, 1)
        theirs[other] = value
    return theirs


def convert(script: str, content: dict, folder: Path) -> subprocess.CompletedProcess:
    torch.save(content, folder / 'best_model.pth')
    command = [sys.executable, ROOT / 'tools/model_converters' / script, 'best_model.pth', 'ours.pth']
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize('distributed', [False, True])
@pytest.mark.parametrize('kind', ['resnet', 'vit'])
@torch.no_grad()
def test_a_checkpoint_becomes_ours(tmp_path: Path, kind: str, distributed: bool) -> None:
    model = segmentor(kind).eval()
    weights = their_names(model, TOWERS + BRIDGE + NECK + HEAD) | {'backbone.logit_scale': torch.ones(())}
    state = {f'module.{name}' if distributed else name: value for name, value in weights.items()}
    done = convert('etris2cmmasksd.py', dict(epoch=50, best_iou=0.7, state_dict=state, optimizer={}), tmp_path)
    assert done.returncode == 0, done.stderr
    assert f'{len(model.state_dict())} tensors written' in done.stdout
    before = model(torch.ones(3, 3, 64, 64), IDS)
    model.load_state_dict(load_checkpoint_file(tmp_path / 'ours.pth')['state_dict'], strict=True)
    last = weights['neck.fusion5.multihead_attn.in_proj_weight']
    assert torch.equal(model.neck.gates[2][0].weight, last[2 * len(last) // 3 :])
    crossing = model.bridge.crossings[1]
    assert torch.equal(crossing.image_norm.weight, weights['bridger.ln_v.0.weight'])
    assert torch.equal(crossing.text_norm.bias, weights['bridger.ln_t.0.bias'])
    widen = crossing.widen_image if kind == 'resnet' else crossing.widen_image[0]
    name = 'bridger.zoom_out.1.weight' if kind == 'resnet' else 'bridger.zoom_out.1.0.weight'
    assert torch.equal(widen.weight, weights[name].transpose(0, 1))
    after = model(torch.ones(3, 3, 64, 64), IDS)
    assert after.isfinite().all() and not torch.equal(before, after)


@pytest.mark.parametrize(
    ('script', 'method'), [('etris2cmmasksd.py', 'ETRIS'), ('detris2cmmasksd.py', 'DETRIS')], ids=['etris', 'detris']
)
def test_what_is_another_model_is_refused(tmp_path: Path, script: str, method: str) -> None:
    done = convert(script, {'state_dict': {'neck.f1_v_proj.0.weight': torch.zeros(1)}}, tmp_path)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert f"'neck.f1_v_proj.0.weight' is no parameter of {method}." in done.stderr
    assert not (tmp_path / 'ours.pth').exists()
