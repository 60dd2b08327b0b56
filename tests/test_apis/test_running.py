"""What is done before a Runner is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from cmmasksd.apis.running import prepare_config
from cmmasksd.engine.checks import ConfigError

ROOT = Path(__file__).resolve().parents[2]
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
CONFIGS = sorted(ROOT.glob('configs/cm_masksd/*.py'))


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
@pytest.mark.parametrize('loader', LOADERS)
def test_a_loader_without_workers_has_none_of_their_settings(loader: str, path: Path) -> None:
    cfg = Config.fromfile(path)
    workers = {name: cfg[name].num_workers for name in LOADERS}
    of_workers = dict(num_workers=0, persistent_workers=True, prefetch_factor=4, multiprocessing_context='spawn')
    cfg[loader].update(of_workers)
    prepare_config(cfg)
    assert not {'persistent_workers', 'prefetch_factor', 'multiprocessing_context'} & cfg[loader].keys()
    for other in set(LOADERS) - {loader}:
        assert cfg[other].get('persistent_workers', False) == (workers[other] > 0)


def test_workers_keep_their_settings() -> None:
    cfg = Config(dict(train_dataloader=dict(batch_size=1, num_workers=2, persistent_workers=True, prefetch_factor=4)))
    before = cfg.to_dict()
    prepare_config(cfg)
    assert cfg.to_dict() == before


@pytest.mark.parametrize('has_gpu', [False, True])
def test_memory_is_pinned_for_gpus_alone(has_gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one, torch would warn in each epoch."""
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: has_gpu)
    for path in CONFIGS:
        cfg = Config.fromfile(path)
        prepare_config(cfg)
        assert [cfg[name].get('pin_memory', False) for name in LOADERS] == [has_gpu] * 3


@pytest.mark.parametrize('loader', LOADERS)
def test_every_loader_is_checked(loader: str) -> None:
    cfg = Config.fromfile(ROOT / 'configs/cm_masksd/vit-b_refcoco.py')
    cfg[loader].batch_size = 0
    with pytest.raises(ConfigError, match=f'{loader}.batch_size=0'):
        prepare_config(cfg)


@pytest.mark.parametrize(
    'schedulers',
    [
        None,
        [dict(type='CosineAnnealingLR', end=None)],
        dict(type='CosineAnnealingLR', end=None),
        dict(one=[dict(type='CosineAnnealingLR', end=None)]),
    ],
)
def test_an_end_of_none_is_the_end_of_the_run(schedulers: Any) -> None:
    cfg = Config(dict(param_scheduler=schedulers))
    prepare_config(cfg)
    assert 'end' not in repr(cfg.param_scheduler)
