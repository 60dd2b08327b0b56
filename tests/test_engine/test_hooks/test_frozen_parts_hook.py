"""Frozen parts under DDP: no gradients, and the steps of a training that knows of none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mmengine.hooks import Hook
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from cmmasksd.distributed import prepare_launcher
from tests.forking import run_ranks
from tests.test_engine.runs import make_config


class Gradients(Hook):
    """Names of the parameters that have one after each step."""

    def __init__(self) -> None:
        self.names: list[set[str]] = []

    def before_train(self, runner: Runner) -> None:
        names = {parameter: name for name, parameter in runner.model.module.named_parameters()}
        for parameter in names:
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(lambda each: self.names[-1].add(names[each]))

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self.names.append(set())


def train(folder: Path, options: dict[str, Any], hooks: list[str]) -> None:
    os.environ['LOCAL_RANK'] = str(dist.get_rank())
    seen = {}
    for name in hooks:
        cfg = make_config(folder / name, launcher='pytorch', **options)
        cfg.custom_hooks = [dict(type=f'{name}Hook')]
        prepare_launcher(cfg, 'pytorch')
        with DefaultScope.overwrite_default_scope('cmmasksd'):
            runner = Runner.from_cfg(cfg)
            gradients = Gradients()
            runner.register_hook(gradients)
            runner.train()
        seen[name] = gradients.names, runner.model.module.state_dict()
    names, ours = seen['FrozenParts']
    assert len(names) > 5 and all(each and not any('backbone' in name for name in each) for each in names)
    every, theirs = seen['AverageStatistics']
    assert all('backbone.weight' in each for each in every)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert dist.get_world_size() == 2


def test_no_gradient_is_computed_for_what_is_frozen(tmp_path: Path) -> None:
    options = dict(optim_wrapper__paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.0))))
    run_ranks(train, 2, tmp_path, tmp_path, options, ['FrozenParts', 'AverageStatistics'])
