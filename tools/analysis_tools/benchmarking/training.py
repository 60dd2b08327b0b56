"""Training steps: the main branch alone, with either branch, with both; and the same done plainly."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from torch import nn

from cmmasksd.engine.hooks.compile_hook import compile_verbs
from cmmasksd.registry import MODELS

from .comparing import Comparison, Variant, compare
from .inputs import input_size, random_batch
from .plain import plain_kernels, plain_loss

BRANCHES = ('LMVSD', 'VMLSD')


def compare_training(
    cfg: Config,
    batch_size: int,
    device: torch.device,
    repeats: int,
    amp: bool,
    baseline: bool,
    compiled: bool = False,
    main_only: bool = False,
) -> Comparison:
    """Times forward, backward and optimiser step, with one expression an image.

    Args:
        cfg: the config; a branch that it lacks is added with its defaults.
        batch_size: B.
        device: where.
        repeats: rounds.
        amp: bfloat16 autocast, but for the plain way.
        baseline: also the plain way.
        compiled: also encoder, neck and head compiled.
        main_only: without the branches' variants.
    """
    cfg = with_branches(cfg)
    model = MODELS.build(cfg.model).to(device).train()
    batch = random_batch(cfg, [1] * batch_size, training=True)
    optimiser = optimiser_of(model, cfg, amp)
    dtype = 'bfloat16' if amp else 'float32'
    chosen = (
        {'main': ()}
        if main_only
        else {'main': (), 'main + LMVSD': ('lmvsd',), 'main + VMLSD': ('vmlsd',), 'main + both': ('lmvsd', 'vmlsd')}
    )
    variants = {
        name: Variant(partial(train_once, model, batch, optimiser, branches), batch_size, dtype)
        for name, branches in chosen.items()
    }
    if compiled:
        faster = copy.deepcopy(model)
        compile_verbs(faster)
        work = partial(train_once, faster, batch, optimiser_of(faster, cfg, amp))
        variants |= {
            f'{name}, compiled': Variant(partial(work, branches), batch_size, dtype, compiled=True)
            for name, branches in chosen.items()
        }
    if baseline:
        work = partial(_plain_step, model, batch, optimiser_of(model, cfg, amp=False))
        variants |= {
            f'{name}, plain': Variant(partial(work, branches), batch_size) for name, branches in chosen.items()
        }
    size = input_size(cfg)
    with torch.no_grad():
        tokens = model.embed_image(torch.zeros(1, 3, *size, device=device)).shape[1]
    title = f'training step, {batch_size} images of {size[0]}x{size[1]}'
    comparison = compare(title, 'image', variants, device, repeats, first='main')
    return dataclasses.replace(comparison, facts=dict(visual_tokens=tokens))


def with_branches(cfg: Config) -> Config:
    """A copy of the config that has both branches."""
    cfg = copy.deepcopy(cfg)
    present = [branch.type.rsplit('.')[-1] for branch in cfg.model.get('distillation', ())]
    missing = [dict(type=f'cmmasksd.{name}') for name in BRANCHES if name not in present]
    cfg.model.distillation = [*cfg.model.get('distillation', ()), *missing]
    return cfg


@contextmanager
def only_branches(model: nn.Module, names: tuple[str, ...]) -> Iterator[None]:
    """Within the block the model has these of its branches."""
    every = model.distillation
    model.distillation = nn.ModuleDict({name: branch for name, branch in every.items() if name in names})
    try:
        yield
    finally:
        model.distillation = every


def optimiser_of(model: nn.Module, cfg: Config, amp: bool) -> OptimWrapper:
    """The config's own optimiser at a rate of 0, which costs the same and keeps the weights for all variants."""
    config = copy.deepcopy(cfg.optim_wrapper)
    config.type = 'AutocastOptimWrapper' if amp else 'OptimWrapper'
    wrapper = build_optim_wrapper(model, config)
    for group in wrapper.param_groups:
        group['lr'] = 0.0
    return wrapper


def train_once(model: nn.Module, batch: dict[str, Any], optimiser: OptimWrapper, branches: tuple[str, ...]) -> None:
    """Forward, backward and optimiser step with these branches."""
    with only_branches(model, branches):
        model.train_step(batch, optimiser)


def _plain_step(model: nn.Module, batch: dict[str, Any], optimiser: OptimWrapper, branches: tuple[str, ...]) -> None:
    data = model.data_preprocessor(batch, True)
    with only_branches(model, branches), plain_kernels():
        optimiser.update_params(sum(plain_loss(model, data['inputs'], data['input_ids'], data['masks']).values()))
