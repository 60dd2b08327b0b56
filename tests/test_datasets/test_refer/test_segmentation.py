"""Properties of polygons and RLEs: whatever comes in, the mask is pycocotools' own, or the error ours."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st
from pycocotools import mask as coco_mask

from cmmasksd.datasets.refer import ReferError
from cmmasksd.datasets.refer.segmentation import MAX_OUTLINE, MAX_PARTS, clean_segmentation, decode_mask

HEIGHT, WIDTH = 20, 30
MASKS = np_st.arrays(bool, st.tuples(st.integers(1, 24), st.integers(1, 24))).filter(np.any)
STARTS, STEPS, COORDINATES = (
    st.integers(-3, 10),
    st.integers(-2, 2),
    st.one_of(st.integers(-15, 40), st.floats(-15, 40, width=32)),
)
SHAPES = st.integers(3, 9).flatmap(lambda count: st.lists(COORDINATES, min_size=2 * count, max_size=2 * count))
LINES = st.builds(
    lambda x, y, step_x, step_y, places: [
        float(number) for place in places for number in (x + place * step_x, y + place * step_y)
    ],
    STARTS,
    STARTS,
    STEPS,
    STEPS,
    st.lists(st.integers(0, 8), min_size=3, max_size=9),
)
DEGENERATE = st.one_of(LINES, LINES, st.lists(COORDINATES, max_size=5), st.lists(COORDINATES, min_size=7, max_size=7))
PARTS = st.one_of(SHAPES, SHAPES, SHAPES, LINES)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.integers(0, HEIGHT * WIDTH),
    lambda inner: (
        st.lists(inner, max_size=8)
        | st.fixed_dictionaries({}, optional=dict(size=st.just([HEIGHT, WIDTH]) | inner, counts=inner))
    ),
)


def pycocotools(parts: list[list[float]]) -> np.ndarray:
    """The mask of polygons, each drawn by itself."""
    masks = [coco_mask.decode(coco_mask.frPyObjects([part], HEIGHT, WIDTH))[..., 0] for part in parts]
    return np.any(masks, axis=0)


def runs_of(mask: np.ndarray) -> list[int]:
    """Uncompressed counts, column by column, the first of zeros."""
    column_wise = mask.T.ravel()
    ends = np.flatnonzero(np.diff(column_wise, append=~column_wise[-1])) + 1
    return [0] * int(column_wise[0]) + np.diff(ends, prepend=0).tolist()


@given(JSON_VALUES)
def test_any_json_value_gives_a_mask_or_our_error(value: Any) -> None:
    value = json.loads(json.dumps(value))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        warnings.simplefilter('ignore', DeprecationWarning)  # of pycocotools under numpy 2
        try:
            mask = decode_mask(value, HEIGHT, WIDTH, 'ref 12')
        except ReferError as error:
            assert str(error).startswith('ref 12: ')
        else:
            assert mask.shape == (HEIGHT, WIDTH) and mask.dtype == bool and mask.any()


@given(st.lists(PARTS, min_size=1, max_size=5))
def test_polygons_give_the_mask_of_pycocotools(parts: list[list[float]]) -> None:
    expected = pycocotools(parts)
    try:
        mask = decode_mask(parts, HEIGHT, WIDTH)
    except ReferError:
        assert not expected.any()
    else:
        np.testing.assert_array_equal(mask, expected)


@given(st.lists(PARTS, min_size=1, max_size=3), st.lists(DEGENERATE, max_size=3))
def test_what_is_dropped_belongs_to_no_mask(parts: list[list[float]], degenerate: list[list[float]]) -> None:
    assume(pycocotools(parts).any())
    kept, dropped = clean_segmentation([*degenerate, *parts], HEIGHT, WIDTH)
    drawable = [part for part in [*degenerate, *parts] if len(part) >= 6 and len(part) % 2 == 0]
    assert len(kept) + dropped == len(parts) + len(degenerate) and len(kept) <= len(drawable)
    np.testing.assert_array_equal(decode_mask(kept, HEIGHT, WIDTH), pycocotools(drawable))
    assert clean_segmentation(kept, HEIGHT, WIDTH) == (kept, 0)


@given(MASKS, st.data())
def test_every_form_of_rle_is_read_back(mask: np.ndarray, data: st.DataObject) -> None:
    height, width = mask.shape
    plain = runs_of(mask)
    empty_runs = list(plain)
    for _ in range(data.draw(st.integers(1, 5))):  # a run may be split by an empty one of the other kind
        place = data.draw(st.integers(0, len(empty_runs) - 1))
        first = data.draw(st.integers(0, empty_runs[place]))
        empty_runs[place : place + 1] = [first, 0, empty_runs[place] - first]
    compressed = coco_mask.encode(np.asfortranarray(mask, np.uint8))['counts']
    compressed_empty_runs = coco_mask.frPyObjects(dict(size=[height, width], counts=empty_runs), height, width)[
        'counts'
    ]
    for counts in (compressed, compressed.decode(), plain, empty_runs, compressed_empty_runs):
        code = dict(size=[height, width], counts=counts)
        for segmentation in (code, [code], [code, code]):
            cleaned, dropped = clean_segmentation(segmentation, height, width)
            np.testing.assert_array_equal(decode_mask(cleaned, height, width), mask)
            assert dropped == 0


@given(st.lists(np_st.arrays(bool, (7, 9)), min_size=1, max_size=5), st.data())
def test_a_list_of_rles_is_their_union(masks: list[np.ndarray], data: st.DataObject) -> None:
    assume(np.any(masks))
    codes = []
    for mask in masks:
        runs = runs_of(mask)
        # more runs than pixels: merged as they are, they overrun a buffer
        runs[0:1] = [0, 0] * data.draw(st.integers(0, 200)) + runs[0:1]
        codes.append(dict(size=[7, 9], counts=runs))
    np.testing.assert_array_equal(decode_mask(codes, 7, 9), np.any(masks, axis=0))


@pytest.mark.parametrize('parts', [MAX_PARTS, 2])
def test_the_outline_of_all_parts_is_bounded(parts: int) -> None:
    """pycocotools walks every pixel of it: parts that are each short enough could keep it busy for minutes."""
    side = 10_000
    outline = [0.0, 0.0, *[float(side), float(side), 0.0, 0.0] * (MAX_OUTLINE // (2 * side * parts) + 1), 0.0, 9000.0]
    with pytest.raises(ReferError, match='its segmentation has an outline of .* pixels, more than 2000000'):
        clean_segmentation([outline] * parts, side, side)
    assert clean_segmentation([outline], side, side) == ([outline], 0)


@pytest.mark.parametrize('x, y', [(-61, 5), (5, -41), (121, 5), (5, 81)])
def test_a_corner_may_lie_a_picture_away_and_no_farther(x: float, y: float) -> None:
    """Of a picture of 40 x 60 pixels: beyond its size to the left and above, and beyond twice its size."""
    allowed = min(max(x, -60), 120), min(max(y, -40), 80)
    assert clean_segmentation([[1, 1, 30, 1, *allowed]], 40, 60) == ([[1, 1, 30, 1, *allowed]], 0)
    with pytest.raises(ReferError, match='reaches far outside the picture'):
        clean_segmentation([[1, 1, 30, 1, x, y]], 40, 60)


def test_a_sliver_is_not_a_line() -> None:
    """A hundred-thousandth of a pixel wide it has an area, though pycocotools draws nothing of it."""
    sliver, line = [10.2, 10.2, 20.2, 10.2, 20.2, 10.20001], [10.2, 10.2, 20.2, 10.2, 15.2, 10.2]
    assert not pycocotools([sliver]).any() and not pycocotools([line]).any()
    assert clean_segmentation([sliver, line], HEIGHT, WIDTH) == ([sliver], 1)


def test_the_number_of_parts_is_bounded() -> None:
    part = [1, 1, 3, 1, 3, 3]
    assert len(clean_segmentation([part] * MAX_PARTS, 40, 60)[0]) == MAX_PARTS
    with pytest.raises(ReferError, match=f'has {MAX_PARTS + 1} parts'):
        clean_segmentation([part] * (MAX_PARTS + 1), 40, 60)
