"""Predictions as a data set of FiftyOne: with a stand-in for its data base, and with it where one is configured."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cmmasksd.annotation.fifty_one import load_dataset
from cmmasksd.annotation.labelling import LabellingError
from tests.test_annotation.test_tasks import write_predictions

MASK = np.zeros((20, 30), bool)
MASK[5:10, 6:12] = True
MASKS = {'p0.png': {'left zebra': MASK, 'nothing': MASK & False}, 'p1.png': {'the tree': ~MASK}}


class Dataset:
    """As much of FiftyOne's as is called."""

    made: list[Dataset] = []

    def __init__(self, name: str | None) -> None:
        self.name, self.samples = name, list[Any]()
        self.made.append(self)

    def add_samples(self, samples: list[Any], progress: bool) -> None:
        self.samples += samples


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType('fiftyone')
    monkeypatch.setattr(Dataset, 'made', [])
    for name in ('Sample', 'Detection', 'Detections'):
        setattr(module, name, SimpleNamespace)
    module.Dataset = Dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, 'fiftyone', module)


def test_a_sample_a_picture_and_a_detection_a_mask(stand_in: None, tmp_path: Path, photos: Path) -> None:
    dataset: Any = load_dataset(write_predictions(tmp_path / 't.jsonl', MASKS), photos, 'mine', field='model')
    assert dataset.name == 'mine'
    assert [sample.filepath for sample in dataset.samples] == [str((photos / name).resolve()) for name in MASKS]
    labels = [[each.label for each in sample.model.detections] for sample in dataset.samples]
    assert labels == [['left zebra'], ['the tree']]
    assert dataset.samples[0].model.detections[0].mask.all()


def test_a_picture_that_is_not_there_leaves_no_data_set(stand_in: None, tmp_path: Path, photos: Path) -> None:
    predictions = write_predictions(tmp_path / 't.jsonl', {**MASKS, '../p2.png': {'x': MASK}})
    with pytest.raises(LabellingError, match=r'line 3: there is no picture ../p2.png in '):
        load_dataset(predictions, photos)
    assert not Dataset.made


@pytest.mark.skipif('FIFTYONE_DATABASE_URI' not in os.environ, reason='FIFTYONE_DATABASE_URI names no data base')
def test_fiftyone_itself_gives_every_pixel_back(tmp_path: Path, photos: Path) -> None:
    pytest.importorskip('fiftyone')
    dataset = load_dataset(write_predictions(tmp_path / 't.jsonl', MASKS), photos)
    try:
        first, second = dataset
        (zebra,), (tree,) = first.predictions.detections, second.predictions.detections
        assert np.array_equal(zebra.to_segmentation(frame_size=(30, 20)).mask > 0, MASK)
        assert np.array_equal(tree.to_segmentation(frame_size=(30, 20)).mask > 0, ~MASK)
        assert dataset.distinct('predictions.detections.label') == ['left zebra', 'the tree']
    finally:
        dataset.delete()
