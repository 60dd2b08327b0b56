"""The parts of the runtime against torch and OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cmmasksd.structures import Letterbox

runtime = pytest.importorskip('cmmasksd.deployment.runtime', exc_type=ImportError)
SIZES = [((5, 7), (13, 20)), ((33, 20), (16, 47)), ((8, 8), (8, 8)), ((2, 3), (1, 9)), ((40, 60), (39, 61))]


@pytest.mark.parametrize(('old', 'new'), SIZES)
@pytest.mark.parametrize('align_corners', [False, True])
def test_resizing_is_torchs(old: tuple[int, int], new: tuple[int, int], align_corners: bool) -> None:
    maps = np.random.default_rng(0).random((3, *old), np.float32)
    expected = F.interpolate(torch.from_numpy(maps)[None], new, mode='bicubic', align_corners=align_corners)[0].numpy()
    np.testing.assert_allclose(runtime.resize(maps, new, align_corners), expected, atol=1e-5)


@pytest.mark.parametrize(('old', 'new'), SIZES)
def test_resizing_is_opencvs_but_for_its_rounding(old: tuple[int, int], new: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*old, 3), dtype=np.uint8)
    found = np.rint(runtime.resize(picture.transpose(2, 0, 1).astype(np.float32), new).clip(0, 255))
    expected = cv2.resize(picture, new[::-1], interpolation=cv2.INTER_CUBIC).transpose(2, 0, 1)
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize('original', [(480, 640), (640, 480), (1, 900), (31, 32), (577, 576)])
def test_the_letterbox_is_ours(original: tuple[int, int]) -> None:
    for size in ((576, 576), (32, 48)):
        own = Letterbox.fit(original, size)
        assert runtime.letterbox(original, size) == (own.scaled, own.offset)
