"""FSDP: DDP's steps, whole weights and states outside of them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from mmengine.model import BaseModel, BaseModule, MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cmmasksd.engine import FullyShardedModel, ReferringOptimWrapperConstructor
from cmmasksd.engine.checks import ConfigError
from cmmasksd.engine.hooks.non_finite_loss_hook import not_finite
from cmmasksd.engine.sharding.wrapper import layers_of_stacks
from tests.forking import run_ranks

OPTIMIZER = dict(type='Adam', lr=1e-2, weight_decay=1e-3, fused=True)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(8, 8), nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm(self.linear(x)).relu()


class Tower(BaseModule):
    """Called by a verb, as the towers are."""

    def __init__(self, recompute: bool) -> None:
        super().__init__()
        self.recompute = recompute
        self.blocks = nn.ModuleList(Block() for _ in range(3))
        self.positions = nn.Parameter(torch.empty(3, 8))  # an odd number of rows

    def init_weights(self) -> None:
        nn.init.normal_(self.positions)
        for block in self.blocks:
            nn.init.orthogonal_(block.linear.weight)

    def encode(self, x: Tensor) -> Tensor:
        x = x + self.positions.sum(0)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.recompute else block(x)
        return x


class Twice(BaseModel):
    """Encodes, masks by what it has encoded, and encodes again; predicts in as many chunks as it is told."""

    def __init__(self, recompute: bool = False) -> None:
        super().__init__()
        self.backbone, self.decode_head = Tower(recompute), nn.Linear(8, 2)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'loss') -> Any:
        if mode == 'predict':
            return [self.decode_head(self.backbone.encode(inputs)) for _ in range(data_samples)]
        main = self.backbone.encode(inputs)
        student = self.backbone.encode(inputs * (main.detach() > 0))
        return dict(loss_seg=self.decode_head(main).square().mean(), loss_lmvsd=self.decode_head(student).abs().mean())


def batch(step: int, rank: int) -> dict[str, Tensor]:
    torch.manual_seed(100 * step + rank)
    return dict(inputs=torch.randn(4, 8))


def make(wrapper: Any, recompute: bool, **settings: Any) -> tuple[nn.Module, OptimWrapper]:
    torch.manual_seed(dist.get_rank())  # the first process's numbers are to count
    model = wrapper(Twice(recompute))
    if wrapper is sharded:
        model.module.init_weights()
    built = ReferringOptimWrapperConstructor(dict(type='OptimWrapper', optimizer=OPTIMIZER, **settings))(model)
    return model, built


def sharded(model: BaseModel) -> FullyShardedModel:
    return FullyShardedModel(model, min_parameters=50)


def replicated(model: BaseModel) -> MMDistributedDataParallel:
    model.init_weights()
    return MMDistributedDataParallel(model, broadcast_buffers=False, gradient_as_bucket_view=True)


def compare(recompute: bool) -> None:
    """The same steps by FSDP, by DDP and, of all processes' items, by one process."""
    rank, clip = dist.get_rank(), dict(clip_grad=dict(max_norm=0.5))
    model, wrapper = make(sharded, recompute, **clip)
    other, other_wrapper = make(replicated, recompute, **clip)
    assert len(model.units) == 4 and {type(unit).__name__ for unit in model.units} == {'FSDPBlock', 'FSDPTwice'}
    alone = copy.deepcopy(other.module)
    alone_wrapper = ReferringOptimWrapperConstructor(dict(type='OptimWrapper', optimizer=OPTIMIZER, **clip))(alone)
    for step in range(4):
        ours = model.train_step(batch(step, rank), wrapper)
        theirs = other.train_step(batch(step, rank), other_wrapper)
        assert all(torch.isclose(ours[name], theirs[name], atol=1e-6) for name in theirs)
        whole = torch.cat([batch(step, each)['inputs'] for each in range(dist.get_world_size())])
        alone.train_step(dict(inputs=whole), alone_wrapper)
        predictions = model.val_step(dict(inputs=torch.ones(2, 8), data_samples=1 + rank))  # not equally many
        assert torch.allclose(
            predictions[0], other.val_step(dict(inputs=torch.ones(2, 8), data_samples=1))[0], atol=1e-6
        )
    assert sum(parameter.to_local().numel() for parameter in model.parameters()) < 0.7 * sum(
        parameter.numel() for parameter in other.parameters()
    )
    assert_close(model.module.state_dict(), other.module.state_dict())
    assert_close(model.module.state_dict(), alone.state_dict())
    ours, theirs = wrapper.optimizer.state_dict(), other_wrapper.optimizer.state_dict()
    assert ours['state'].keys() == theirs['state'].keys()
    for place, state in ours['state'].items():
        assert_close(state, theirs['state'][place])
    assert_loaded_equally(model, wrapper, other, other_wrapper)


def assert_close(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert list(ours) == list(theirs)
    for name, tensor in ours.items():
        assert type(tensor) is Tensor and torch.allclose(tensor, theirs[name], atol=1e-5), name


def assert_loaded_equally(model: nn.Module, wrapper: OptimWrapper, other: nn.Module, theirs: OptimWrapper) -> None:
    """What FSDP saved, DDP goes on from, and the other way round, to the last bit."""
    state, states = copy.deepcopy(model.module.state_dict()), copy.deepcopy(wrapper.state_dict())
    other.module.load_state_dict(state)
    theirs.load_state_dict(states)
    fresh, fresh_wrapper = make(sharded, False)
    fresh.module.load_state_dict(other.module.state_dict())
    fresh_wrapper.load_state_dict(theirs.state_dict())
    assert all(torch.equal(value, state[name]) for name, value in fresh.module.state_dict().items())
    for place, each in fresh_wrapper.optimizer.state_dict()['state'].items():
        assert all(torch.equal(value, states['state'][place][name]) for name, value in each.items())


def freeze_and_poison() -> None:
    settings = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.0))))
    torch.manual_seed(0)
    model = sharded(Twice())
    model.module.init_weights()
    config = dict(type='OptimWrapper', optimizer=OPTIMIZER)
    wrapper = ReferringOptimWrapperConstructor(config, settings['paramwise_cfg'])(model)
    before = copy.deepcopy(model.module.state_dict())
    model.train_step(batch(0, dist.get_rank()), wrapper)
    moved = {name for name, value in model.module.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {'decode_head.weight', 'decode_head.bias'}
    with torch.no_grad():
        model.module.decode_head.bias.fill_(float('nan'))
    if dist.get_rank() == 0:  # alone, as where its loss alone is broken: it must not wait for the other
        assert not_finite(dict(model.module.named_parameters())) == ['decode_head.bias']


@pytest.mark.parametrize('recompute', [False, True])
def test_its_steps_are_those_of_ddp_and_of_one_process(recompute: bool, tmp_path: Path) -> None:
    run_ranks(compare, 2, tmp_path, recompute)


def test_frozen_parts_stay_and_one_process_can_look_at_its_share(tmp_path: Path) -> None:
    run_ranks(freeze_and_poison, 2, tmp_path)


def test_layers_of_stacks_are_units() -> None:
    mixed = nn.Sequential(nn.Linear(9, 9), nn.ReLU(), nn.Linear(9, 9))  # no stack: its layers are parts of one
    nested = nn.ModuleList([nn.Sequential(nn.Linear(9, 9), nn.Linear(9, 9)) for _ in range(2)])
    small = nn.ModuleList(nn.Linear(2, 2) for _ in range(2))
    model = nn.ModuleDict(dict(mixed=mixed, nested=nested, small=small, single=nn.ModuleList([nn.Linear(9, 9)])))
    assert layers_of_stacks(model, 50) == list(nested)


def test_what_cannot_be_shared_out_is_refused() -> None:
    class Scaled(BaseModel):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(1.0))

        def forward(self) -> None: ...

    with pytest.raises(ConfigError, match=r'without a dimension, such as scale: give them the shape \(1,\)'):
        FullyShardedModel(Scaled())
    with pytest.raises(ConfigError, match='min_parameters=0'):
        FullyShardedModel(Scaled(), min_parameters=0)
