"""What the end-to-end tests share: a small RefShapes set and one short training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from mmengine.config import Config

from cmmasksd.datasets.refshapes import make_refshapes
from tests.test_tools.running import CONFIG, run_tool


@pytest.fixture(scope='session')
def refshapes_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('data')
    make_refshapes(root, num_images=100, seed=3)
    return root


@pytest.fixture(scope='session')
def options(refshapes_root: Path) -> list[str]:
    """``--cfg-options`` that point RefShapes' small config at the small set."""
    splits = [f'{loader}_dataloader.dataset.data_root={refshapes_root}' for loader in ('train', 'val', 'test')]
    return [
        '--cfg-options',
        *splits,
        'train_dataloader.dataset.indices=96',
        'default_hooks.logger.interval=2',
        'train_cfg.max_epochs=2',
    ]


@pytest.fixture(scope='session')
def run_training(options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    def train(*arguments: object, config_options: tuple[str, ...] = ()) -> Path:
        work_dir = tmp_path_factory.mktemp('work_dir')
        run_tool('tools/train.py', CONFIG, '--work-dir', work_dir, *arguments, *options, *config_options)
        return work_dir

    return train


@pytest.fixture(scope='session')
def trained(run_training: Callable[..., Path]) -> Path:
    """The work dir of two epochs of six steps, uninterrupted."""
    return run_training()


@pytest.fixture
def tiny_cfg(tiny_config: Callable[..., dict]) -> Config:
    """The tiny model in a whole config, as far as the benchmark reads it."""
    steps = [dict(type='LetterboxResize', size=(32, 48)), dict(type='cmmasksd.TokenizeExpressions', token_length=9)]
    loader = dict(dataset=dict(type='RefCOCODataset', data_root='nowhere', dataset='refcoco', pipeline=steps))
    wrapper = dict(
        type='OptimWrapper',
        constructor='cmmasksd.ReferringOptimWrapperConstructor',
        optimizer=dict(type='Adam', lr=1e-3),
    )
    return Config(dict(model=tiny_config(), train_dataloader=loader, val_dataloader=loader, optim_wrapper=wrapper))
