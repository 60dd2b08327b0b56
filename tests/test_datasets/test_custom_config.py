"""Configs for sets of one's own: their numbers, and their text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from mmengine.config import Config

from cmmasksd.datasets.custom.configuring import write_config
from cmmasksd.datasets.custom.sizing import Sizes, size_training
from cmmasksd.datasets.refer.errors import ReferError
from cmmasksd.datasets.refer.records import Image, Ref, ReferData, Sentence
from cmmasksd.shipped import open_config

SMALL, LARGE = 'vit-tiny_refshapes', 'vit-b_refcoco'
SIZES = Sizes(image_size=128, batch_size=4, epochs=20, steps=5, val_interval=2, warm_up=10, num_workers=0)


def make_data(root: Path, splits: dict[str, int], side: int = 640) -> ReferData:
    """A set with so many refs in each split, each of a picture of its own."""
    names = [name for name, count in splits.items() for _ in range(count)]
    words = (Sentence(1, 'a', 'a'),)
    refs = tuple(Ref(number, number, number, 1, name, words, []) for number, name in enumerate(names))
    images = {number: Image(number, f'{number}.jpg', side * 3 // 4, side) for number in range(len(names))}
    return ReferData(str(root), 'mine', 'custom', refs, images)


@pytest.mark.parametrize(
    ('base', 'refs', 'side', 'accelerator', 'expected'),
    [
        (
            SMALL,
            40,
            640,
            False,
            dict(image_size=128, batch_size=10, steps=4, epochs=132, val_interval=12, num_workers=0),
        ),
        (SMALL, 40, 100, False, dict(image_size=112, batch_size=10)),
        (SMALL, 40, 20, False, dict(image_size=96)),
        (SMALL, 3, 640, False, dict(batch_size=1, steps=3, epochs=176, val_interval=16)),
        (SMALL, 16000, 640, False, dict(batch_size=16, steps=1000, epochs=2, val_interval=1, warm_up=100)),
        (LARGE, 40, 640, False, dict(image_size=320, batch_size=4, steps=10, epochs=50, num_workers=0)),
        (LARGE, 40, 640, True, dict(image_size=576, batch_size=4, epochs=200, num_workers=4)),
    ],
)
def test_numbers_follow_the_set_and_the_device(
    base: str, refs: int, side: int, accelerator: bool, expected: dict, tmp_path: Path
) -> None:
    sizes = size_training(open_config(base), make_data(tmp_path, dict(train=refs, val=2), side), accelerator, cores=8)
    assert {name: getattr(sizes, name) for name in expected} == expected
    assert sizes.epochs % sizes.val_interval == 0


def test_without_a_train_split_or_with_another_kind_of_set(tmp_path: Path) -> None:
    with pytest.raises(ReferError, match='train'):
        size_training(open_config(SMALL), make_data(tmp_path, dict(val=2)), False, 2)
    joined = open_config(SMALL)
    joined.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[])
    with pytest.raises(ReferError, match='choose another --base'):
        size_training(joined, make_data(tmp_path, dict(train=2)), False, 2)


@pytest.mark.parametrize(
    ('splits', 'split', 'evaluated'),
    [
        (dict(train=5, testA=1), 'testA', ['testA']),
        (dict(train=5, test=1, val=1), 'val', ['test', 'val']),
        (dict(train=5), None, None),
    ],
)
def test_the_config_knows_the_splits(
    splits: dict[str, int], split: str | None, evaluated: list[str] | None, tmp_path: Path
) -> None:
    write_config(tmp_path / 'mine.py', open_config(SMALL), make_data(tmp_path, splits), SIZES)
    cfg = Config.fromfile(tmp_path / 'mine.py')
    assert (cfg.val_dataloader and cfg.val_dataloader.dataset.split) == split
    assert (cfg.test_cfg and cfg.test_cfg.splits) == evaluated
    assert (cfg.val_cfg is None) == (cfg.val_evaluator is None) == (split is None)
    assert cfg.train_cfg.max_epochs == 20 and cfg.param_scheduler[1].begin == 10


def test_another_size_is_set_everywhere(tmp_path: Path) -> None:
    sizes = replace(SIZES, image_size=320)
    write_config(tmp_path / 'mine.py', open_config(LARGE), make_data(tmp_path, dict(train=5, val=1)), sizes)
    cfg = Config.fromfile(tmp_path / 'mine.py')
    loaders = [cfg[f'{name}_dataloader'] for name in ('train', 'val', 'test')]
    assert all(loader.dataset.pipeline[3].size == (320, 320) and loader.batch_size == 4 for loader in loaders)
    assert cfg.model.backbone.image_size == (320, 320) and 'step' not in cfg and 'loader' not in cfg


def test_a_base_of_ones_own_is_named_by_its_path(tmp_path: Path) -> None:
    open_config(SMALL).dump(tmp_path / 'base.py')
    data = make_data(tmp_path / 'data', dict(train=5))
    write_config(tmp_path / 'mine.py', open_config(tmp_path / 'base.py'), data, SIZES, tmp_path / 'w.pth')
    cfg = Config.fromfile(tmp_path / 'mine.py')
    assert cfg.load_from == str(tmp_path / 'w.pth')
    assert cfg.train_dataloader.dataset.data_root == str(tmp_path / 'data')
