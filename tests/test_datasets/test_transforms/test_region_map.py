"""Masks in one label map, there and back, and how the picture lies."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from cmmasksd.datasets.transforms.region_map import RegionMap

GENERATOR = np.random.default_rng(0)


def blobs(count: int, height: int = 60, width: int = 90) -> np.ndarray:
    """Overlapping rectangles (count, height, width) bool."""
    masks = np.zeros((count, height, width), bool)
    for number, mask in enumerate(masks):
        mask[5 * number : 5 * number + 20, 7 * number : 7 * number + 30] = True
    return masks


def rotate(labels: np.ndarray, angle: float, interpolation: int = cv2.INTER_NEAREST) -> np.ndarray:
    height, width = labels.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1)
    return cv2.warpAffine(labels, matrix, (width, height), flags=interpolation, borderValue=255)


@pytest.mark.parametrize('count', [0, 1, 2, 5])
def test_masks_come_back(count: int) -> None:
    masks = blobs(count)
    regions = RegionMap.of(masks)
    assert regions.labels.dtype == np.uint8 and regions.labels.shape == (60, 90)
    assert regions.labels.max() < 255  # what OpenMMLab's transforms fill with
    if count:
        assert np.array_equal(regions.masks(regions.labels), masks)
        assert np.array_equal(regions.masks(regions.labels[:, ::-1]), masks[..., ::-1])


def test_what_was_filled_in_belongs_to_no_mask() -> None:
    masks = blobs(2)
    regions = RegionMap.of(masks)
    labels = regions.labels.copy()
    labels[:30] = 255
    masks[:, :30] = False
    assert np.array_equal(regions.masks(labels), masks)


def test_masks_that_overlap_in_too_many_ways_are_refused() -> None:
    masks = GENERATOR.random((6, 40, 40)) > 0.5
    with pytest.raises(ValueError, match='6 masks overlap in more than 27 ways'):
        RegionMap.of(masks)


MOVES = [
    (lambda labels: labels, 'upright'),
    (lambda labels: labels[:, ::-1], 'mirrored'),
    (lambda labels: labels[::-1], 'turned'),
    (lambda labels: labels[::-1, ::-1], 'turned'),
    (lambda labels: np.rot90(labels), 'turned'),
    (lambda labels: np.rot90(labels, 3)[:, ::-1], 'turned'),
    (lambda labels: labels[20:45, 10:30], 'upright'),
    (lambda labels: labels[20:45, 10:30][:, ::-1], 'mirrored'),
    (lambda labels: cv2.resize(labels, (31, 200), interpolation=cv2.INTER_NEAREST), 'upright'),
    (lambda labels: cv2.resize(labels, (600, 80), interpolation=cv2.INTER_NEAREST)[:, ::-1], 'mirrored'),
    (lambda labels: rotate(labels, 20), 'upright'),
    (lambda labels: rotate(labels, -20)[:, ::-1], 'mirrored'),
    (lambda labels: rotate(labels, 20, cv2.INTER_LINEAR), 'upright'),
    (lambda labels: rotate(labels, 60), 'turned'),
    (lambda labels: np.full_like(labels, 255), 'upright'),
]


@pytest.mark.parametrize(('move', 'direction'), MOVES)
@pytest.mark.parametrize('size', [(60, 90), (480, 641)])
def test_it_tells_how_the_picture_lies(move, direction: str, size: tuple[int, int]) -> None:
    regions = RegionMap.of(np.zeros((1, *size), bool))
    assert regions.direction(np.ascontiguousarray(move(regions.labels))) == direction


@pytest.mark.parametrize('factor', [0.2, 0.35, 0.5, 0.77, 1.3, 3.0])
@pytest.mark.parametrize('size', [(40, 60), (96, 128), (427, 640)])
def test_resized_pictures_are_not_mistaken(size: tuple[int, int], factor: float) -> None:
    regions = RegionMap.of(np.zeros((1, *size), bool))
    height, width = (round(side * factor) for side in size)
    for labels, direction in ((regions.labels, 'upright'), (regions.labels[:, ::-1], 'mirrored')):
        resized = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
        assert regions.direction(resized) == direction


@pytest.mark.parametrize('size', [(1, 2), (2, 2), (7, 5), (3, 40)])
def test_few_pixels_are_enough(size: tuple[int, int]) -> None:
    regions = RegionMap.of(np.ones((1, *size), bool))
    assert regions.direction(regions.labels) == 'upright'
    assert regions.direction(regions.labels[:, ::-1]) == 'mirrored'
