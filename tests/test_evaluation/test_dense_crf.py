"""DenseCRF by its library where that is installed; what is said where it is not."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from mmseg.structures import SegDataSample

from cmmasksd.evaluation import DenseCRF
from cmmasksd.evaluation.dense_crf import read_stored
from cmmasksd.registry import EVALUATOR


@pytest.fixture
def square() -> tuple[np.ndarray, np.ndarray]:
    """A red square on blue, and its mask."""
    mask = np.zeros((40, 60), bool)
    mask[10:30, 20:40] = True
    return np.where(mask[..., None], np.uint8([200, 30, 30]), np.uint8([30, 30, 200])), mask


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_masks_snap_to_the_colours(square: tuple[np.ndarray, np.ndarray]) -> None:
    pytest.importorskip('pydensecrf')
    image, mask = square
    rough = np.roll(mask, 3, axis=1)
    soft = np.where(rough, 0.7, 0.2)
    assert iou(rough, mask) < 0.75
    assert iou(DenseCRF()(image, soft), mask) > 0.95
    assert iou(DenseCRF().refine_mask(image, rough), mask) > 0.85
    assert not DenseCRF()(image, np.zeros(mask.shape)).any()
    with pytest.raises(ValueError, match='iteration'):
        DenseCRF(iterations=0)
    with pytest.raises(ValueError, match='probabilities'):
        DenseCRF()(image, soft.T)


def test_metrics_see_refined_masks(square: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    pytest.importorskip('pydensecrf')
    image, mask = square
    cv2.imwrite(str(tmp_path / 'a.png'), image[..., ::-1])
    rough = torch.from_numpy(np.where(np.roll(mask, 3, axis=1), 0.7, 0.2)).float()[None]
    scores = []
    for evaluator in (dict(type='cmmasksd.DenseCRFEvaluator'), dict(type='Evaluator')):
        sample = SegDataSample(metainfo=dict(img_path=str(tmp_path / 'a.png')))
        sample.predictions = InstanceData(masks=rough > 0.35, probabilities=rough)
        sample.expressions = InstanceData(masks=torch.from_numpy(mask)[None])
        built = EVALUATOR.build(dict(**evaluator, metrics=[dict(type='cmmasksd.ReferringIoUMetric')]))
        built.process([sample])
        scores.append(built.evaluate(1)['mIoU'])
    assert scores[0] > 95 and scores[1] < 75


def test_without_the_library_its_name_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'pydensecrf', None)
    with pytest.raises(ModuleNotFoundError, match='pydensecrf2'):
        DenseCRF()


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / 'a.jpg').write_bytes(b'no picture')
    with pytest.raises(ValueError, match='a.jpg: the file is damaged'):
        read_stored(str(tmp_path / 'a.jpg'))
    with pytest.raises(FileNotFoundError):
        read_stored(str(tmp_path / 'b.jpg'))


def test_stored_pixels_are_read_as_rgb(square: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    image, _ = square
    cv2.imwrite(str(tmp_path / 'a.png'), image[..., ::-1])
    assert np.array_equal(read_stored(str(tmp_path / 'a.png')), image)
    assert np.array_equal(read_stored(str(tmp_path / 'a.png'), mirrored=True), image[:, ::-1])
