"""COCO's segmentations, polygons or run-length codes (RLE): checked before any C code sees them, and made into
masks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from cmmasksd.datasets.refer.errors import ReferError, located
from cmmasksd.datasets.refer.fields import check_image_size

Segmentation = list[list[float]] | dict[str, Any]

MAX_PARTS = 4096  # of one annotation
# pixels walked along all parts of one annotation; pycocotools allocates about a hundred bytes for each
MAX_OUTLINE = 2_000_000
_COLLINEAR = 1e-6  # square pixels
_MAX_DIGITS = 7  # characters of one compressed run: 35 bits


def clean_segmentation(segmentation: Any, height: int, width: int) -> tuple[Segmentation, int]:
    """Checks one annotation's segmentation against its picture and drops the polygon parts that enclose nothing.

    A part is degenerate with fewer than 6 numbers, an odd count, or all points on one line, unless pycocotools rounds
    that line to pixels: with or without these parts it draws the same. A list of RLEs, as refclef has, is merged into
    one.

    Args:
        segmentation: polygons ``[[x1, y1, x2, y2, ...], ...]`` in pixels, an RLE ``{size: [height, width], counts: list
            or str}``, or a list of RLEs.
        height: of the picture, in pixels.
        width: of the picture, in pixels.

    Returns:
        The segmentation as polygons or one RLE, and the number of parts dropped.

    Raises:
        ReferError: anything that is neither, NaN or infinite coordinates, an outline far outside the picture, an RLE of
            another size or with runs that do not fill it, nothing left after dropping.
    """
    if isinstance(segmentation, dict):
        return _check_rle(segmentation, height, width), 0
    if not isinstance(segmentation, list) or not segmentation:
        raise ReferError('its segmentation is empty or neither polygons nor RLE')
    if len(segmentation) > MAX_PARTS:
        raise ReferError(f'its segmentation has {len(segmentation)} parts, more than {MAX_PARTS}')
    if isinstance(segmentation[0], dict):
        codes = [_to_coco(_check_rle(part, height, width)) for part in segmentation]
        return (codes[0] if len(codes) == 1 else coco_mask.merge(codes)), 0
    corners = [_corners(part, height, width) for part in segmentation]
    outline = sum(_outline(points) for points in corners)
    if outline > MAX_OUTLINE:
        raise ReferError(f'its segmentation has an outline of {int(outline)} pixels, more than {MAX_OUTLINE}')
    kept = [
        part
        for part, points in zip(segmentation, corners)
        if _encloses_pixels(points) or _is_drawn(points, height, width)
    ]
    if not kept:
        raise ReferError('none of its polygon parts encloses anything; redraw the object or leave it out')
    return kept, len(segmentation) - len(kept)


def decode_mask(segmentation: Segmentation, height: int, width: int, name: str = 'annotation') -> NDArray[np.bool_]:
    """The mask of one object at the picture's own size (by pycocotools).

    Args:
        segmentation: polygons or RLE, as ``clean_segmentation`` takes.
        height: of the picture, in pixels.
        width: of the picture, in pixels.
        name: what errors call the record, e.g. ``'ref 12 of /data/refcoco/refs(unc).p'``.

    Returns:
        (height, width) bool.

    Raises:
        ReferError: a malformed segmentation, or a mask without any pixel.
    """
    with located(name):
        check_image_size(height, width)
        cleaned, _ = clean_segmentation(segmentation, height, width)
        return coco_mask.decode(encode_mask(cleaned, height, width)).view(bool)


def encode_mask(cleaned: Segmentation, height: int, width: int) -> dict[str, Any]:
    """The mask of a segmentation from ``clean_segmentation`` as compressed RLE, which is far quicker to make than its
    pixels.

    Raises:
        ReferError: a mask without any pixel.
    """
    code = (
        _to_coco(cleaned)
        if isinstance(cleaned, dict)
        else coco_mask.merge(coco_mask.frPyObjects(cleaned, height, width))
    )
    if not coco_mask.area(code):
        raise ReferError(
            f'its mask covers no pixel of the {height} x {width} picture; redraw the object or leave it out'
        )
    return code


def _to_coco(rle: dict[str, Any]) -> dict[str, Any]:
    """Compresses an RLE whose counts are a list; compressed ones pass as they are."""
    return coco_mask.frPyObjects(rle, *rle['size']) if isinstance(rle['counts'], list) else rle


def _corners(part: Any, height: int, width: int) -> NDArray[Any]:
    """One polygon part [x1, y1, ...] as points (n, 2), none where they are too few or odd; raises ReferError if it
    cannot be of this picture.
    """
    numbers = _numbers(part, 'iuf', 'polygon')
    if not np.isfinite(numbers).all():
        raise ReferError('a polygon has NaN or infinite coordinates')
    if numbers.size < 6 or numbers.size % 2:
        return np.empty((0, 2))
    points = numbers.reshape(-1, 2)
    size = np.array([width, height])
    if (points < -size).any() or (points > 2 * size).any():
        raise ReferError(
            f'a polygon reaches far outside the picture of {height} x {width} pixels (height x width): scaled or '
            'swapped coordinates?'
        )
    return points


def _outline(points: NDArray[Any]) -> float:
    """The pixels that are walked along a closed polygon (n, 2)."""
    return float(np.abs(points - np.concatenate((points[1:], points[:1]))).max(axis=1, initial=0).sum())


def _encloses_pixels(points: NDArray[Any]) -> bool:
    """Whether a polygon (n, 2) has an area: not all of its points lie on one line."""
    if not len(points):
        return False
    points = points - points[0]
    farthest = points[(points**2).sum(axis=1).argmax()]
    return bool(np.abs(points[:, 0] * farthest[1] - points[:, 1] * farthest[0]).max() > _COLLINEAR)


def _is_drawn(points: NDArray[Any], height: int, width: int) -> bool:
    """Whether pycocotools gives a polygon (n, 2) any pixel; by rounding, it does so for some lines."""
    return bool(len(points)) and coco_mask.area(coco_mask.frPyObjects([points.ravel().tolist()], height, width)).any()


def _check_rle(rle: Any, height: int, width: int) -> dict[str, Any]:
    """An RLE {size, counts} whose runs fill the picture exactly; pycocotools trusts them and would write outside its
    buffer.
    """
    if not isinstance(rle, dict) or not {'size', 'counts'} <= rle.keys():
        raise ReferError('its segmentation is not an RLE with size and counts')
    size, counts = rle['size'], rle['counts']
    if not isinstance(size, list) or [type(side) for side in size] != [int, int]:
        raise ReferError('the size of its RLE is not [height, width]')
    if size != [height, width]:
        raise ReferError(f'its RLE has size {size}, but its picture [{height}, {width}] (height, width)')
    runs = (
        _compressed_runs(counts) if isinstance(counts, (str, bytes)) else _numbers(counts, 'iu', 'RLE').astype(np.int64)
    )
    pixels = height * width
    if (runs < 0).any() or (runs > pixels).any() or runs.sum() != pixels:
        raise ReferError(f'the runs of its RLE do not add up to the {pixels} pixels of its picture')
    if not runs[1:].all():
        counts = _without_empty_runs(runs)
    return {'size': [height, width], 'counts': counts}


def _without_empty_runs(runs: NDArray[np.int64]) -> list[int]:
    """The same pixels in runs of which the first alone may be empty; when it merges others, pycocotools writes beyond
    its buffer.
    """
    filled = np.flatnonzero(runs)
    values = filled % 2
    changes = np.flatnonzero(np.diff(values, prepend=-1))
    return [0] * int(values[0]) + np.add.reduceat(runs[filled], changes).tolist()


def _compressed_runs(text: str | bytes) -> NDArray[np.int64]:
    """Run lengths of COCO's compressed counts.

    Each character holds 5 bits, low ones first, and a flag that more follow; the highest bit is the sign. From the
    fourth number on, the difference to the number two places before is stored.
    """
    characters = text.encode('ascii', errors='replace') if isinstance(text, str) else text
    digits = np.frombuffer(characters, np.uint8).astype(np.int64) - 48
    if not digits.size or digits.min() < 0 or digits.max() > 63 or digits[-1] & 32:
        raise ReferError('the compressed counts of its RLE are broken')
    ends = np.flatnonzero((digits & 32) == 0)
    lengths = np.diff(ends, prepend=-1)
    starts = ends - lengths + 1
    if lengths.max() > _MAX_DIGITS:
        raise ReferError('the compressed counts of its RLE are broken')
    places = np.arange(digits.size) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((digits & 31) << (5 * places), starts)
    numbers -= np.where(digits[ends] & 16, 1 << (5 * lengths), 0)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def _numbers(values: Any, kinds: str, what: str) -> NDArray[Any]:
    """A flat list of JSON's numbers as an array; raises ReferError for strings, nested lists and numbers beyond 64
    bits.
    """
    if not isinstance(values, list):
        raise ReferError(f'a {what} of its segmentation is not a list of numbers')
    try:
        array = np.asarray(values)
    except ValueError as error:  # nested lists of unequal lengths
        raise ReferError(f'a {what} of its segmentation is not a flat list of numbers') from error
    if values and (array.ndim != 1 or array.dtype.kind not in kinds):
        raise ReferError(f'a {what} of its segmentation is not a flat list of numbers')
    return array
