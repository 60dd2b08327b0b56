"""A batch without augmentation, and a model without dropout."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import OptimWrapper, build_optim_wrapper
from torch import nn

from cmmasksd.engine.leaves import leaf_configs
from cmmasksd.registry import DATASETS

NEEDED = (
    'LoadReferringImage',
    'SelectSentences',
    'LoadReferringMasks',
    'LetterboxResize',
    'TokenizeExpressions',
    'PackReferringInputs',
)


def take_batch(cfg: Config, size: int) -> tuple[dict[str, Any], list[str]]:
    """A batch of the training set, its items spread over it, and the types of the transforms that were left out.

    Raises:
        ValueError: the training set has fewer items.
    """
    config = next(leaf_configs(cfg.train_dataloader.dataset))
    kept = [step for step in config.pipeline if step.type.rsplit('.')[-1] in NEEDED]
    dataset = DATASETS.build({**config, 'pipeline': kept})
    if len(dataset) < size:
        raise ValueError(f'the training set has {len(dataset)} items: set --batch-size to at most that')
    places = np.linspace(0, len(dataset) - 1, size).round().astype(int).tolist()
    left_out = [step.type for step in config.pipeline if step not in kept]
    return pseudo_collate([dataset[place] for place in places]), left_out


def switch_off_dropout(model: nn.Module) -> None:
    """In modules of their own, and in attentions that keep the probability as a number."""
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
        elif isinstance(getattr(module, 'dropout', None), float):
            module.dropout = 0.0


def constant_optimiser(model: nn.Module, cfg: Config, lr: float | None, amp: bool) -> OptimWrapper:
    """The config's optimiser without its schedule, at a rate that shows something within hundreds of steps.

    Args:
        model: what it trains.
        cfg: its config.
        lr: of parts whose multiplier is 1; None: the config's, but at least 1e-4.
        amp: bfloat16 autocast.
    """
    config = copy.deepcopy(cfg.optim_wrapper)
    config.type = 'AutocastOptimWrapper' if amp else 'OptimWrapper'
    config.pop('accumulative_counts', None)
    own = config.optimizer.lr
    wrapper = build_optim_wrapper(model, config)
    for group in wrapper.param_groups:
        group['lr'] *= (lr or max(own, 1e-4)) / own
    return wrapper
