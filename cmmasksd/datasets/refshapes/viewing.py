"""What a viewer of a scene sees: the visible part of every shape, where it lies and how much of the shape it is."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from cmmasksd.datasets.refshapes.scenes import Scene, Shape

SUPERSAMPLING = 4  # finer pixels per pixel and axis, for smooth edges and exact outlines
CLEAR_SHARE = 0.65  # a shape is seen clearly, and may be spoken of, when this share of it is visible
LEAST_SHARE = 0.35  # a scene that hides more of a shape is not used
_SHIFT = 4  # fractional bits of cv2.fillPoly's coordinates


def draw_labels(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Draws which shape is seen where.

    Returns:
        (4 height, 4 width) uint8, 0 for the background, k + 1 for ``scene.shapes[k]``; and (K,) float, the visible
        share of each shape.
    """
    labels = np.zeros((scene.height * SUPERSAMPLING, scene.width * SUPERSAMPLING), np.uint8)
    whole = []
    for number, shape in enumerate(scene.shapes, start=1):
        # cv2.fillPoly takes pixels by their middles and paints those that the border touches too: half a pixel all
        # round.
        corners = _inset(shape.outline * SUPERSAMPLING, 0.5) - 0.5
        cv2.fillPoly(labels, [np.round(corners * 2**_SHIFT).astype(np.int32)], number, shift=_SHIFT)
        whole.append(np.count_nonzero(labels == number))
    visible = [np.count_nonzero(labels == number) for number in range(1, len(whole) + 1)]
    return labels, np.array(visible) / np.array(whole)


def _inset(outline: np.ndarray, distance: float) -> np.ndarray:
    """Moves every side of a clockwise outline (P, 2) of (x, y) inwards by ``distance``."""
    sides = np.roll(outline, -1, axis=0) - outline
    after = np.stack([-sides[:, 1], sides[:, 0]], axis=1) / np.linalg.norm(sides, axis=1, keepdims=True)
    before = np.roll(after, 1, axis=0)
    return outline + distance * (before + after) / (1 + (before * after).sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class Thing:
    """A shape as seen.

    Attributes:
        kind, colour, size, texture: as in :class:`Shape`.
        centre: (x, y), the middle of mass of its visible part, pixels.
        box: (left, top, right, bottom) of its visible part, pixels.
        share: how much of the shape is visible, in (0, 1].
    """

    kind: str
    colour: str
    size: str
    texture: str
    centre: tuple[float, float]
    box: tuple[int, int, int, int]
    share: float

    @property
    def clear(self) -> bool:
        """Whether enough of it is visible to tell its kind, size and texture."""
        return self.share >= CLEAR_SHARE


@dataclass(frozen=True)
class View:
    """A scene as seen.

    Attributes:
        height, width: the picture's size, pixels.
        things: its shapes, in the order of the scene.
        labels: (4 height, 4 width) uint8, see :func:`draw_labels`.
        coverage: (K, height, width) float32, the share of each pixel that each shape fills visibly.
    """

    height: int
    width: int
    things: tuple[Thing, ...]
    labels: np.ndarray
    coverage: np.ndarray

    @property
    def masks(self) -> np.ndarray:
        """(K, height, width) bool, True where a shape fills at least half of the pixel."""
        return self.coverage >= 0.5


def look(scene: Scene) -> View | None:
    """Looks at a scene; ``None`` where one of its shapes is hidden so far that a viewer could miss it."""
    labels, shares = draw_labels(scene)
    if (shares < LEAST_SHARE).any():
        return None
    coverage = np.stack([_cover(labels, number, shape) for number, shape in enumerate(scene.shapes, start=1)])
    things = tuple(
        _see(shape, cover >= 0.5, float(share)) for shape, cover, share in zip(scene.shapes, coverage, shares)
    )
    return View(scene.height, scene.width, things, labels, coverage)


def _cover(labels: np.ndarray, number: int, shape: Shape) -> np.ndarray:
    """(height, width) float32, the share of each pixel that shape ``number`` fills; looked at within its outline
    only.
    """
    height, width = (side // SUPERSAMPLING for side in labels.shape)
    left, top = np.clip(np.floor(shape.outline.min(axis=0)).astype(int) - 1, 0, (width - 1, height - 1))
    right, bottom = np.clip(np.ceil(shape.outline.max(axis=0)).astype(int) + 1, 1, (width, height))
    fine = labels[top * SUPERSAMPLING : bottom * SUPERSAMPLING, left * SUPERSAMPLING : right * SUPERSAMPLING]
    cover = np.zeros((height, width), np.float32)
    cover[top:bottom, left:right] = cv2.resize(
        (fine == number).astype(np.float32), (right - left, bottom - top), interpolation=cv2.INTER_AREA
    )
    return cover


def _see(shape: Shape, mask: np.ndarray, share: float) -> Thing:
    rows, columns = np.nonzero(mask)
    centre = (float(columns.mean()) + 0.5, float(rows.mean()) + 0.5)
    box = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
    return Thing(shape.kind, shape.colour, shape.size, shape.texture, centre, box, share)
