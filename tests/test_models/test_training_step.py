"""One real training step of ViT-B/16 from a shipped config, at the paper's two sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope

from cmmasksd.registry import MODELS

CONFIG = Path(__file__).resolve().parents[2] / 'configs/cm_masksd/vit-b_refcoco.py'


@pytest.mark.slow
@pytest.mark.parametrize('size', [576, 480])
def test_a_real_training_step(make_batch, size):
    cfg = Config.fromfile(CONFIG)
    cfg.merge_from_dict({'model.backbone.image_size': (size, size)})
    for tower in ('backbone', 'text_encoder'):
        cfg.model[tower].pretrained = None  # random weights: nothing is downloaded
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
        optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    grouped = [parameter for group in optim_wrapper.optimizer.param_groups for parameter in group['params']]
    assert {id(parameter) for parameter in grouped} == {id(parameter) for parameter in model.parameters()}
    assert [group['lr'] for group in optim_wrapper.optimizer.param_groups] == [1e-5, 1e-5]

    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    batch = make_batch((1,), size=(size, size), original=(480, 640), length=17)
    logged = model.train().train_step(batch, optim_wrapper)
    assert set(logged) == {'loss', 'loss_seg', 'loss_lmvsd', 'loss_vmlsd'}
    assert all(loss.isfinite() and loss > 0 for loss in logged.values())
    still = [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])]
    assert len(before) > 350
    assert not still
    assert all(parameter.isfinite().all() for parameter in model.parameters())
