"""Small trainings of a model with the parts of a segmentor, to see what a config comes to."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from cmmasksd.apis.running import prepare_config
from cmmasksd.engine.checks import check_run
from cmmasksd.registry import DATASETS, MODELS

NUMBERS = count()


@DATASETS.register_module(force=True)
class Numbers(Dataset):
    """The whole numbers below ``size``."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict[str, int]:
        return dict(inputs=index)


@MODELS.register_module(force=True)
class FourLayers(BaseModel):
    """A layer for each of towers, neck and head; items are numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.text_encoder = nn.Linear(1, 2), nn.Linear(1, 2)
        self.neck, self.decode_head = nn.LayerNorm(2), nn.Linear(2, 1)

    def forward(self, inputs: list[int], data_samples: None = None, mode: str = 'loss') -> Any:
        x = torch.tensor(inputs, dtype=torch.float)[:, None] / 10
        return {'loss': self.decode_head(self.neck(self.backbone(x) + self.text_encoder(x))).square().mean()}


class Recorder(Hook):
    """Keeps (epoch, iteration) and the rate of each group before each step."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.places: list[tuple[int, int]] = []
        self.groups: list[list[float]] = []
        self.logged: list[float] = []  # as base_lr

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self.places.append((runner.epoch, runner.iter))
        self.groups.append([group['lr'] for group in runner.optim_wrapper.optimizer.param_groups])
        rates = runner.optim_wrapper.get_lr()
        self.logged += rates.get('base_lr', rates['lr'])  # a single group has no base beside it

    @property
    def rates(self) -> list[float]:
        """Of the first group."""
        return [rates[0] for rates in self.groups]


def make_config(work_dir: Path, **options: Any) -> Config:
    """Twelve items in batches of two, four epochs: one of warm-up, then a cosine. ``options`` are those of
    ``--cfg-options``, with ``__`` for the dots.
    """
    cfg = Config(
        dict(
            default_scope='cmmasksd',
            model=dict(type='FourLayers'),
            work_dir=str(work_dir),
            train_dataloader=dict(
                batch_size=2,
                num_workers=0,
                drop_last=True,
                dataset=dict(type='Numbers', size=12),
                sampler=dict(type='DefaultSampler', shuffle=True),
            ),
            train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=4),
            optim_wrapper=dict(
                type='OptimWrapper',
                constructor='ReferringOptimWrapperConstructor',
                optimizer=dict(type='Adam', lr=0.1, weight_decay=0.01),
            ),
            param_scheduler=[
                dict(type='LinearLR', start_factor=0.1, begin=0, end=1, convert_to_iter_based=True),
                dict(type='CosineAnnealingLR', eta_min=0, begin=1, convert_to_iter_based=True),
            ],
            default_hooks=dict(
                checkpoint=dict(type='CheckpointHook', interval=1), logger=dict(type='LoggerHook', interval=1000)
            ),
            custom_hooks=[dict(type='ResumeHook'), dict(type='RunCheckHook')],
            randomness=dict(seed=0),
            experiment_name=f'run-{next(NUMBERS)}',
            log_level='WARNING',
        )
    )
    options = copy.deepcopy(options)
    schedulers = options.pop('param_scheduler', None)
    if schedulers is not None:  # a list is not merged into a list
        cfg.param_scheduler = schedulers
    cfg.merge_from_dict({name.replace('__', '.'): value for name, value in options.items()})
    return cfg


def by_iterations(max_iters: int, **train_cfg: Any) -> dict[str, Any]:
    """Options of a run that counts iterations."""
    return dict(
        train_cfg=dict(_delete_=True, type='IterBasedTrainLoop', max_iters=max_iters, **train_cfg),
        default_hooks=dict(logger=dict(log_metric_by_epoch=False), checkpoint=dict(by_epoch=False)),
        log_processor=dict(by_epoch=False),
    )


def make_runner(cfg: Config, checked: bool = True) -> Runner:
    """As ``cmmasksd.apis.running`` makes one; not ``checked``: as other tools do, where the hooks alone check."""
    with quickly():
        if checked:
            prepare_config(cfg)
        runner = Runner.from_cfg(cfg)
        if checked:
            check_run(runner)
    return runner


def train(work_dir: Path, checked: bool = True, **options: Any) -> tuple[Runner, Recorder]:
    """Trains by a config with these options; gives what it came to."""
    return train_by(make_config(work_dir, **options), checked)


def train_by(cfg: Config, checked: bool = True) -> tuple[Runner, Recorder]:
    """The same by a config."""
    torch.manual_seed(0)
    runner, recorder = make_runner(cfg, checked), Recorder()
    runner.register_hook(recorder)
    with quickly():
        runner.train()
    return runner, recorder


@contextmanager
def quickly() -> Iterator[None]:
    """In our scope, and without what takes longer than these trainings: the versions of compilers, and the config's
    text made pretty.
    """
    no_log = patch.object(Runner, '_log_env', lambda *arguments: None)
    with DefaultScope.overwrite_default_scope('cmmasksd'), no_log, patch.object(Config, 'pretty_text', ''):
        yield
