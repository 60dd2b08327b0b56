"""Branches that rest at first: what runs, what it costs, and that DDP and a resumed run go along."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from cmmasksd.engine import LateDistillationHook
from cmmasksd.registry import MODELS
from tests.forking import run_ranks


@pytest.mark.parametrize(('begin', 'resting'), [(0.0, 0), (0.25, 2), (0.3, 3), (0.99, 8)])
def test_branches_rest_for_the_share_asked_for(begin: float, resting: int) -> None:
    model, hook = SimpleNamespace(distilling=True), LateDistillationHook(begin)
    states = []
    for iteration in range(8):
        hook.before_train_iter(SimpleNamespace(model=model, iter=iteration, max_iters=8), 0)
        states.append(model.distilling)
    assert states == [False] * resting + [True] * (8 - resting)


@pytest.mark.parametrize('begin', [-0.1, 1.0])
def test_a_share_that_cannot_be_is_refused(begin: float) -> None:
    with pytest.raises(ValueError, match='begin'):
        LateDistillationHook(begin)


def test_resting_branches_change_nothing_of_the_main_branch(tiny_model, make_batch) -> None:
    torch.manual_seed(0)
    model = tiny_model().train()
    data = model.data_preprocessor(make_batch((2, 1)), True)
    data.pop('data_samples')
    active = model(**data, mode='loss')
    model.distilling = False
    resting = model(**data, mode='loss')
    assert active.keys() == resting.keys() and len(active) == 3
    assert active['loss_lmvsd'] > 0 and resting['loss_lmvsd'] == resting['loss_vmlsd'] == 0
    sum(resting.values()).backward()
    tokens = [branch.mask_token for branch in model.distillation.values()]
    assert len(tokens) == 2 and all(token.grad is not None and not token.grad.any() for token in tokens)


def train(config: dict[str, Any], batch: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = MODELS.build(config).train()
    data = model.data_preprocessor(batch, True)
    data.pop('data_samples')
    wrapped = DistributedDataParallel(model)
    steps = 0
    for distilling in (False, False, True, True):
        model.distilling = distilling
        sum(wrapped(**data, mode='loss').values()).backward()
        steps += 1
    assert steps == 4 and dist.get_world_size() == 2
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_ddp_goes_along(tiny_config, make_batch, tmp_path) -> None:
    run_ranks(train, 2, tmp_path, tiny_config(), make_batch((2, 1)))
