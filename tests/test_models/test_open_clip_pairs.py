"""Both towers of each family of open_clip in a segmentor: a step, a prediction, and parameters that all learn."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmengine.structures import InstanceData
from torch import nn

from cmmasksd.registry import MODELS
from tests.test_models.open_clip_towers import FAMILIES, JOINT, rows_of_ids, small_config, small_trunks
from tests.test_models.test_open_clip_image_towers import SIDE, patch_of

BOTH = [dict(type='cmmasksd.LMVSD'), dict(type='cmmasksd.VMLSD')]
ATTENTION_POOLED = [name for name in FAMILIES if name.startswith(('SigLIP', 'CoCa', 'PE'))]


@pytest.fixture
def segmentor(tiny_config, make_batch) -> Callable[..., tuple[nn.Module, dict[str, Any], dict[str, Any]]]:
    """``segmentor(family, distillation)``: the model, a batch of training and one of evaluation."""

    def make(family: str, distillation: list) -> tuple[nn.Module, dict[str, Any], dict[str, Any]]:
        name, options = FAMILIES[family]
        config = small_config(name, vocab_size=600 if 'SigLIP' in name or 'CLIPA' in name else None)
        size = SIDE * patch_of(config['vision_cfg'])
        cfg = tiny_config(distillation=copy.deepcopy(distillation))
        cfg['backbone'].update(architecture=config, image_size=size)
        cfg['text_encoder'].update(architecture=config)
        torch.manual_seed(0)
        with small_trunks(**options):
            width = MODELS.build(cfg['backbone']).embed_dims
            cfg['neck'].update(in_channels=(width, width, JOINT), text_channels=JOINT)
            cfg['decode_head'].update(word_channels=32, text_channels=JOINT)
            model = MODELS.build(cfg)
        ids = rows_of_ids(config['text_cfg'], [2, 5, 1])
        batches = [make_batch((2, 1), training, size=(size, size)) for training in (True, False)]
        for batch in batches:
            for sample, own in zip(batch['data_samples'], ids.split([2, 1])):
                old = sample.expressions
                sample.expressions = InstanceData(texts=old.texts, input_ids=own, masks=old.masks)
        return model, *batches

    return make


def check_step(model: nn.Module, batch: dict[str, Any], names: set[str]) -> None:
    losses = model.train()(**model.data_preprocessor(copy.deepcopy(batch), True), mode='loss')
    assert set(losses) == names and all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize('family', FAMILIES)
def test_a_step_and_a_prediction(segmentor, family) -> None:
    model, batch, evaluation = segmentor(family, BOTH)
    check_step(model, batch, {'loss_seg', 'loss_lmvsd', 'loss_vmlsd'})
    samples = model.eval().test_step(evaluation)
    assert [len(sample.predictions.masks) for sample in samples] == [2, 1]
    assert all(sample.predictions.probabilities.isfinite().all() for sample in samples)


@pytest.mark.parametrize('distillation', [[], BOTH[:1], BOTH[1:]], ids=['none', 'LMVSD', 'VMLSD'])
@pytest.mark.parametrize('family', ATTENTION_POOLED)
def test_whatever_the_branches_no_parameter_waits_for_a_gradient(segmentor, family, distillation) -> None:
    model, batch, _ = segmentor(family, distillation)
    check_step(model, batch, {'loss_seg', *(f'loss_{branch["type"][9:].lower()}' for branch in distillation)})
