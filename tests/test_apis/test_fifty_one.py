"""Masks as FiftyOne keeps them; with FiftyOne itself where it is installed."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pytest

from cmmasksd.apis.fifty_one import describe, make_detections


def paste(fields: dict[str, Any], height: int, width: int) -> np.ndarray:
    """The whole mask of a description, with coordinates cut off to whole pixels as FiftyOne does."""
    left, top, own_width, own_height = fields['bounding_box']
    x, y = int(left * width), int(top * height)
    mask = np.zeros((height, width), bool)
    mask[y : int((top + own_height) * height), x : int((left + own_width) * width)] = fields['mask']
    return mask


def test_a_mask_is_its_box_and_the_pixels_in_it() -> None:
    mask = np.zeros((20, 40), bool)
    mask[5:10, 8:16] = True
    mask[5, 8] = False
    fields = describe('left zebra', np.float32(0.5), mask)
    assert fields is not None and (fields['label'], fields['confidence']) == ('left zebra', 0.5)
    assert fields['bounding_box'] == pytest.approx([0.2, 0.25, 0.2, 0.25], abs=1e-3)
    assert np.array_equal(fields['mask'], mask[5:10, 8:16])
    assert describe('nothing', 0.0, np.zeros((4, 5), bool)) is None


def test_boxes_of_any_size_give_every_pixel_back() -> None:
    rng, tried = np.random.default_rng(0), 0
    for _ in range(500):
        height, width = (int(side) for side in rng.integers(2, 900, 2))
        mask = np.zeros((height, width), bool)
        rows, columns = np.sort(rng.integers(0, height + 1, 2)), np.sort(rng.integers(0, width + 1, 2))
        mask[slice(*rows), slice(*columns)] = True
        fields = describe('x', 1.0, mask)
        if fields is not None:
            assert np.array_equal(paste(fields, height, width), mask), (height, width, rows, columns)
            tried += 1
    assert tried > 400


def test_fiftyone_takes_them() -> None:
    pytest.importorskip('fiftyone')
    mask = np.zeros((160, 120), bool)
    mask[15:130, 21:109] = True
    detections = make_detections([('left zebra', 0.5, mask), ('nothing', 0.0, ~mask & mask)]).detections
    (detection,) = detections
    assert (detection.label, detection.confidence) == ('left zebra', 0.5)
    assert np.array_equal(detection.to_segmentation(frame_size=(120, 160)).mask > 0, mask)


def test_without_fiftyone_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    load = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name == 'fiftyone':
            raise ImportError(name)
        return load(name, *rest, **more)

    monkeypatch.setattr(builtins, '__import__', refuse)
    with pytest.raises(ImportError, match=r"pip install 'cmmasksd\[fiftyone\]'"):
        make_detections([])
