"""Masks as the one label map that other projects' transforms carry along, and what became of the picture's axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CODES = 9  # of stripes: 3 across times 3 down
MOST_REGIONS = 28  # with their codes they stay below 255, which OpenMMLab's transforms fill gaps with
STRIPES = 24  # to a side of the picture; so many that a crop still holds some
WIDTH = 8  # of a stripe, in pixels, at least, but in pictures so small that they would not hold three
COLUMNS = (np.arange(256) % CODES // 3).astype(np.int8)  # the number of a label's column stripe
ROWS = (np.arange(256) % 3).astype(np.int8)
UNKNOWN = 64  # no difference to a number is a step


@dataclass(frozen=True)
class RegionMap:
    """A label map (height, width) uint8 that holds all masks of a picture, and where each pixel was.

    Pixels that lie in the same masks are a region. Stripes run over the regions, numbered 0, 1, 2, 0, ... from left to
    right and from top to bottom, so that any part of the map says in which direction the picture now lies.

    Attributes:
        labels: (height, width) uint8, region x 9 + column's stripe x 3 + row's stripe.
        members: (regions, R) bool, the masks that a region lies in; the first region lies in none.
    """

    labels: np.ndarray
    members: np.ndarray

    @classmethod
    def of(cls, masks: np.ndarray) -> RegionMap:
        """Of masks (R, height, width) bool, R >= 0.

        Raises:
            ValueError: the masks overlap in more ways than a map of bytes can hold.
        """
        height, width = masks.shape[1:]
        regions, members = np.zeros((height, width), np.uint8), np.zeros((1, 0), bool)
        if len(masks) == 1:  # a training item: nothing to tell apart
            regions, members = masks[0].view(np.uint8), np.array([[False], [True]])
        for mask in masks[1:] if len(masks) == 1 else masks:
            split = 2 * regions + mask
            present = np.bincount(split.ravel(), minlength=1) > 0
            present[0] = True
            found = np.flatnonzero(present)
            if len(found) > MOST_REGIONS:
                raise ValueError(
                    f'its {len(masks)} masks overlap in more than {MOST_REGIONS - 1} ways, which is more than a label '
                    'map carries'
                )
            regions = (np.cumsum(present) - 1).astype(np.uint8)[split]
            members = np.column_stack([members[found // 2], found % 2 == 1])
        columns, rows = _stripes(width), _stripes(height)
        return cls(regions * np.uint8(CODES) + 3 * columns + rows[:, None], members)

    def masks(self, labels: np.ndarray) -> np.ndarray:
        """The masks (R, height, width) bool in a map that was carried along; filled gaps lie in none."""
        inside = np.zeros((256, self.members.shape[1]), bool)
        inside[: CODES * len(self.members)] = self.members.repeat(CODES, axis=0)
        return np.stack([each[labels] for each in inside.T])

    def direction(self, labels: np.ndarray) -> str:
        """How the picture lies in a map that was carried along: ``upright``, ``mirrored`` (left to right) or
        ``turned``: upside down, or by 45 degrees or more.
        """
        across, along = self._rise(COLUMNS, labels)
        sideways, down = self._rise(ROWS, labels)
        if down < 0 or abs(sideways) > abs(down) or abs(along) > abs(across):
            return 'turned'
        return 'mirrored' if across < 0 else 'upright'

    def _rise(self, stripe_of: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
        """By how much a pixel the stripes' numbers rise from left to right, and from top to bottom, where known.

        Pixels half a stripe apart are compared: between neighbours, maps that were interpolated hold numbers of no
        stripe. Every fourth line is looked at.
        """
        number = stripe_of.copy()
        number[CODES * len(self.members) :] = UNKNOWN
        rises = []
        for lines, before in ((labels[::4].T, self.labels.shape[1]), (labels[:, ::4], self.labels.shape[0])):
            numbers, shrunk = number[lines], min(1, len(lines) / before)
            apart = max(1, int(shrunk * _stripe_width(before) / 2))
            steps = numbers[apart:] - numbers[:-apart]
            up, back = (np.count_nonzero((steps == one) | (steps == -2 * one)) for one in (1, -1))
            rises.append((up - back) / (apart * max(1, steps.size)))
        return rises[0], rises[1]


def _stripes(length: int) -> np.ndarray:
    return (np.arange(length) // _stripe_width(length) % 3).astype(np.uint8)


def _stripe_width(length: int) -> int:
    """In pixels of a side of that length; wide enough that small pictures may be made smaller."""
    return max(1, min(max(WIDTH, length // STRIPES), length // 3))
