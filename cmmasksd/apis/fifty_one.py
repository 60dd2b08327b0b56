"""Masks as FiftyOne's detections."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fiftyone import Detections


NUDGE = 1e-3  # pixels: FiftyOne cuts coordinates off to whole ones, and 0.29 * 100 is 28.999...


def make_detections(answers: Iterable[tuple[str, float, np.ndarray]]) -> Detections:
    """Sentences, scores and masks (height, width) bool as ``fiftyone.Detections``; empty masks are left out, for they
    have no box.

    Raises:
        ImportError: FiftyOne is not installed.
    """
    try:
        import fiftyone
    except ImportError as error:
        raise ImportError("fiftyone is not installed: pip install 'cmmasksd[fiftyone]'.") from error
    fields = (describe(*answer) for answer in answers)
    return fiftyone.Detections(detections=[fiftyone.Detection(**each) for each in fields if each is not None])


def describe(sentence: str, score: float, mask: np.ndarray) -> dict[str, Any] | None:
    """What FiftyOne keeps of a mask: its pixels inside its box, and the box (left, top, width, height) as shares of the
    picture; None: there are no pixels.
    """
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not len(rows):
        return None
    (top, bottom), (left, right) = ((int(each[0]), int(each[-1]) + 1) for each in (rows, columns))
    height, width = mask.shape
    box = [(left + NUDGE) / width, (top + NUDGE) / height, (right - left) / width, (bottom - top) / height]
    return dict(label=sentence, confidence=float(score), bounding_box=box, mask=mask[top:bottom, left:right])
