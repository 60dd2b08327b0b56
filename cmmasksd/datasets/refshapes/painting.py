"""Pictures of scenes: textured shapes with smooth edges on a shaded, noisy ground."""

from __future__ import annotations

import cv2
import numpy as np

from cmmasksd.datasets.refshapes.scenes import COLOURS, Scene, Shape
from cmmasksd.datasets.refshapes.viewing import View

_TEXTURE_PERIOD = 0.09  # of stripes and dots, a share of the picture's shorter side: still seen at half the size


def paint(scene: Scene, view: View, rng: np.random.Generator) -> np.ndarray:
    """Paints a scene: (height, width, 3) uint8 RGB. ``rng`` draws what no expression speaks of: ground, shades, the
    turn of the stripes.
    """
    ground = _paint_ground(scene.height, scene.width, rng)
    picture = ground * (1 - view.coverage.sum(axis=0))[..., None]
    for shape, cover in zip(scene.shapes, view.coverage):
        picture += paint_shape(shape, scene, rng) * cover[..., None]
    picture += rng.normal(0, rng.uniform(1, 6), picture.shape)
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)


def _paint_ground(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A linear gradient between two greys with a faint tint, and soft blotches: (height, width, 3) float."""
    ends = rng.uniform(60, 215, (2, 1)) + rng.uniform(-12, 12, (2, 3))
    turn = rng.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[-0.5 : 0.5 : height * 1j, -0.5 : 0.5 : width * 1j]
    ramp = 0.5 + 0.7 * (np.cos(turn) * columns + np.sin(turn) * rows)[..., None]
    coarse = rng.normal(0, rng.uniform(2, 12), (7, 7)).astype(np.float32)
    blotches = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
    return ends[0] * (1 - ramp) + ends[1] * ramp + blotches


def paint_shape(shape: Shape, scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """The colour that the shape would give to every pixel: (height, width, 3) float, or (3,) when it is solid."""
    colour = np.array(COLOURS[shape.colour]) + rng.uniform(-10, 10, 3)
    if shape.texture == 'solid':
        return colour
    period = _TEXTURE_PERIOD * min(scene.height, scene.width)
    turn = rng.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[: scene.height, : scene.width] * (2 * np.pi / period)
    along = np.cos(turn) * columns + np.sin(turn) * rows
    across = np.cos(turn) * rows - np.sin(turn) * columns
    if shape.texture == 'striped':
        wave, mark = np.cos(along), colour * 0.25
    else:
        wave, mark = np.cos(along) + np.cos(across) - 0.5, 255 - (255 - colour) * 0.1
    share = np.clip(0.5 + 1.5 * wave, 0, 1)[..., None]
    return colour * (1 - share) + mark * share
