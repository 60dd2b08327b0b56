"""The forms of a result."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from cmmasksd.apis import ReferringResult
from cmmasksd.apis import results as results_module
from cmmasksd.structures import Letterbox

HEIGHT, WIDTH = 40, 60


@pytest.fixture
def result() -> ReferringResult:
    """A rectangle of 0.5 in one of 0.9, and nothing."""
    maps = torch.zeros(2, HEIGHT, WIDTH)
    maps[0, 10:30, 20:50] = 0.5
    maps[0, 10:30, 20:40] = 0.9
    picture = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    letterbox = Letterbox.fit((HEIGHT, WIDTH), (HEIGHT, WIDTH))
    return ReferringResult(picture, ['left zebra', 'the tree'], maps, letterbox, name='folder/zebras.jpg')


def test_masks_and_scores(result: ReferringResult) -> None:
    expected = np.zeros((2, HEIGHT, WIDTH), bool)
    expected[0, 10:30, 20:50] = True
    assert result.masks.dtype == bool and np.array_equal(result.masks, expected)
    assert result.masks is result.masks
    assert result.scores.tolist() == pytest.approx([(0.9 * 400 + 0.5 * 200) / 600, 0])
    np.testing.assert_allclose(result.probabilities, result.maps.numpy(), atol=1e-6)


def test_another_threshold_is_another_mask(result: ReferringResult) -> None:
    higher = result.at(0.6)
    assert higher.masks[0].sum() == 400 and higher.scores[0] == pytest.approx(0.9)
    assert result.masks[0].sum() == 600 and higher.threshold == 0.6
    for threshold in (-0.1, 1, 1.5, float('nan'), '0.5', None):
        with pytest.raises(ValueError, match='must lie in'):
            result.at(threshold)


def test_masks_are_the_same_however_many_are_made_at_once(
    result: ReferringResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = result.masks, result.scores, result.probabilities
    monkeypatch.setattr(results_module, 'PIXELS_AT_ONCE', 1)
    again = result.at(result.threshold)
    for first, second in zip(together, (again.masks, again.scores, again.probabilities), strict=True):
        assert np.array_equal(first, second)


def test_run_lengths_are_cocos(result: ReferringResult) -> None:
    runs = result.to_coco_rle()
    assert [rle['size'] for rle in runs] == [[HEIGHT, WIDTH]] * 2
    decoded = coco_mask.decode([dict(rle, counts=rle['counts'].encode()) for rle in runs])
    assert np.array_equal(decoded.transpose(2, 0, 1), result.masks)


def test_a_dict_of_all(result: ReferringResult) -> None:
    report = json.loads(json.dumps(result.to_dict()))
    assert report['image'] == 'folder/zebras.jpg' and report['size'] == [HEIGHT, WIDTH]
    zebra, tree = report['objects']
    assert zebra['expression'] == 'left zebra' and zebra['bbox'] == [20, 10, 30, 20] and zebra['area'] == 600
    assert zebra['segmentation'] == result.to_coco_rle()[0]
    assert tree['area'] == tree['score'] == 0


def test_files(result: ReferringResult, tmp_path: Path) -> None:
    written = result.save(tmp_path / 'new' / 'folder')
    names = ['zebras.json', 'zebras_panel.png', 'zebras_1.png', 'zebras_2.png']
    assert [path.name for path in written] == names
    assert json.loads(written[0].read_text()) == result.to_dict()
    for path, mask in zip(written[2:], result.masks, strict=True):
        assert np.array_equal(np.asarray(Image.open(path).convert('L')), mask * np.uint8(255))
    assert [path.name for path in result.save(tmp_path, 'mine')][0] == 'mine.json'


def test_a_notebook_shows_the_panel(result: ReferringResult) -> None:
    with Image.open(io.BytesIO(result._repr_png_())) as picture:
        assert np.array_equal(np.asarray(picture), result.draw())
    assert 'left zebra' in repr(result) and len(repr(result)) < 200


def test_supervision_takes_the_masks(result: ReferringResult) -> None:
    pytest.importorskip('supervision')
    detections = result.to_supervision()
    assert len(detections) == 2 and list(detections.data['class_name']) == result.expressions
    assert np.array_equal(detections.mask, result.masks)
    assert detections.xyxy[0].tolist() == [20, 10, 49, 29]
    assert detections.confidence.tolist() == result.scores.tolist()


def test_without_supervision_it_says_what_to_install(result: ReferringResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__('sys').modules, 'supervision', None)
    with pytest.raises(ImportError, match=r"pip install 'cmmasksd\[supervision\]'"):
        result.to_supervision()


def test_fiftyone_is_handed_what_is_there(result: ReferringResult, monkeypatch: pytest.MonkeyPatch) -> None:
    handed: list[tuple[str, float, np.ndarray]] = []
    monkeypatch.setattr(results_module, 'make_detections', handed.extend)
    result.to_fiftyone()
    assert [(text, score) for text, score, _ in handed] == list(zip(result.expressions, result.scores.tolist()))
    assert np.array_equal(np.stack([mask for *_, mask in handed]), result.masks)
