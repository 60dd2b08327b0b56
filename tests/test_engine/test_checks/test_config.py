"""Settings out of range are refused before anything is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cmmasksd.engine.checks import ConfigError, check_config
from tests.test_engine.runs import make_config

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    'no batch': (
        dict(train_dataloader__batch_size=0),
        'train_dataloader.batch_size=0: write a whole number, at least',
    ),
    'half a batch': (dict(train_dataloader__batch_size=2.5), 'train_dataloader.batch_size=2.5: write a whole number'),
    'yes workers': (
        dict(train_dataloader__num_workers=True),
        'train_dataloader.num_workers=True: write a whole',
    ),
    'fewer than no workers': (
        dict(train_dataloader__num_workers=-1),
        'num_workers=-1: write a whole number, at least',
    ),
    'no prefetching': (dict(train_dataloader__prefetch_factor=0), 'prefetch_factor=0: write a whole number'),
    'a negative timeout': (dict(train_dataloader__timeout=-1), 'timeout=-1: write a number at least 0'),
    'a misspelt key of a loader': (
        dict(train_dataloader__batchsize=2),
        "train_dataloader has no setting 'batchsize': write batch_size",
    ),
    "the validation's batch": (dict(val_dataloader=dict(batch_size=-4)), 'val_dataloader.batch_size=-4'),
    "the test's workers": (
        dict(test_dataloader=dict(batch_size=4, num_workers='two')),
        "test_dataloader.num_workers='two'",
    ),
    'no epochs': (dict(train_cfg__max_epochs=0), 'train_cfg.max_epochs=0: write a whole number, at least 1'),
    'no end': (dict(train_cfg=dict(_delete_=True, type='EpochBasedTrainLoop')), 'train_cfg.max_epochs=None'),
    'no iterations': (dict(train_cfg=dict(_delete_=True, by_epoch=False, max_iters=-5)), 'train_cfg.max_iters=-5'),
    'no interval': (dict(train_cfg__val_interval=0), 'train_cfg.val_interval=0: write a whole number, at least 1'),
    'a validation that never begins': (dict(train_cfg__val_begin=9), 'train_cfg.val_begin=9 lies beyond the end'),
    'a misspelt key of the loop': (dict(train_cfg__max_epoch=4), "has no setting 'max_epoch': write max_epochs"),
    'iterations with epochs': (
        dict(train_cfg__type='IterBasedTrainLoop', train_cfg__max_iters=4),
        "'max_epochs': write train_cfg._delete_=True beside train_cfg.type=IterBasedTrainLoop, train_cfg.max_iters",
    ),
    'epochs with iterations': (
        dict(train_cfg__max_iters=4),
        'train_cfg._delete_=True beside train_cfg.type=Epoch',
    ),
    'two ways to name a loop': (dict(train_cfg__by_epoch=False), 'both type=.* and by_epoch=False: leave by_epoch out'),
    'a log that is never written': (dict(default_hooks__logger__interval=0), 'default_hooks.logger.interval=0'),
    'checkpoints that are never written': (dict(default_hooks__checkpoint__interval=0), 'checkpoint.interval=0'),
    'a hook of no type': (
        dict(default_hooks__checkpoints=dict(interval=5)),
        'default_hooks.checkpoints has no type: do you mean default_hooks.checkpoint?',
    ),
    'a file to resume': (dict(resume='epoch_3.pth'), "resume='epoch_3.pth': write True or False. .* --resume PATH"),
    'no batch to scale by': (
        dict(auto_scale_lr=dict(enable=True)),
        'auto_scale_lr.base_batch_size=None: write a',
    ),
    'a misspelt batch to scale by': (dict(auto_scale_lr=dict(base_batchsize=4)), 'write base_batch_size'),
}


@pytest.mark.parametrize('what', REFUSED)
def test_a_setting_that_cannot_be_is_refused(what: str, tmp_path: Path) -> None:
    options, message = REFUSED[what]
    with pytest.raises(ConfigError, match=message):
        check_config(make_config(tmp_path, **options))


@pytest.mark.parametrize(
    'options',
    [
        {},
        dict(default_hooks__checkpoint__interval=-1),
        dict(default_hooks__checkpoint=None),
        dict(train_cfg=dict(_delete_=True, by_epoch=True, max_epochs=3)),
        dict(train_cfg=dict(_delete_=True, type='IterBasedTrainLoop', max_iters=3, val_interval=5)),
        dict(train_cfg=None, train_dataloader=None),
        dict(auto_scale_lr=dict(base_batch_size=32, enable=False)),
        dict(train_dataloader=dict(num_batch_per_epoch=3, pin_memory=True, num_workers=2, persistent_workers=True)),
    ],
)
def test_what_can_be_passes(options: dict[str, Any], tmp_path: Path) -> None:
    check_config(make_config(tmp_path, **options))
