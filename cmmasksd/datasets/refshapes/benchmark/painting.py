"""Pictures of the benchmark: shapes with photographed surfaces on photographed grounds, unevenly lit, blurred and
noisy.
"""

from __future__ import annotations

import cv2
import numpy as np

from cmmasksd.datasets.refshapes.benchmark.photographs import PHOTOGRAPHS, SURFACES, cut
from cmmasksd.datasets.refshapes.painting import paint_shape
from cmmasksd.datasets.refshapes.scenes import Scene
from cmmasksd.datasets.refshapes.viewing import Thing, View

_SATURATION = (0.15, 0.6)  # range of what is kept of a ground's: the shapes' colours should be the strong ones
_CONTRAST = (0.4, 0.9)  # range of what is kept of a ground's contrast
_GROUND = (70, 190)  # range of a ground's mean brightness
_RELIEF = (0, 22)  # range of a surface's standard deviation, levels
_SHADE = 0.3  # greatest change of the light from the middle to an edge
_EXPOSURE = (0.85, 1.1)
_BLURRED, _BLUR = 0.5, (0.4, 1.0)  # share of pictures that are blurred, and the range of sigma, pixels
_NOISE = (1, 8)  # range of the noise's standard deviation, levels


def paint_photographed(scene: Scene, view: View, training: bool, rng: np.random.Generator) -> np.ndarray:
    """Paints a scene: (height, width, 3) uint8 RGB. Nothing that is drawn here is spoken of, and none of it moves an
    edge: masks stay exact.
    """
    picture = _draw_ground(scene, training, rng) * (1 - view.coverage.sum(axis=0))[..., None]
    for shape, thing, cover in zip(scene.shapes, view.things, view.coverage):
        seen = _around(thing)
        colour = np.broadcast_to(paint_shape(shape, scene, rng), picture.shape)[seen]
        picture[seen] += (colour + _draw_relief(colour, training, rng)) * cover[seen][..., None]
    picture *= _draw_light(scene.height, scene.width, rng)
    if rng.random() < _BLURRED:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(*_BLUR), borderType=cv2.BORDER_REFLECT_101)
    picture += rng.uniform(*_NOISE) * rng.standard_normal(picture.shape, np.float32)
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)


def _draw_ground(scene: Scene, training: bool, rng: np.random.Generator) -> np.ndarray:
    names = tuple(PHOTOGRAPHS)
    piece = cut(names[rng.integers(len(names))], scene.height, scene.width, training, rng)
    grey = piece.mean(axis=2, keepdims=True)
    muted = grey + rng.uniform(*_SATURATION) * (piece - grey)
    return rng.uniform(*_GROUND) + rng.uniform(*_CONTRAST) * (muted - muted.mean())


def _around(thing: Thing) -> tuple[slice, slice]:
    """Rows and columns of a thing's box and of the pixels next to it, which it may fill by less than half."""
    left, top, right, bottom = thing.box
    return slice(max(top - 1, 0), bottom + 1), slice(max(left - 1, 0), right + 1)


def _draw_relief(colour: np.ndarray, training: bool, rng: np.random.Generator) -> np.ndarray:
    """What a photographed surface adds to a colour (height, width, 3): (height, width, 1), of mean 0."""
    name = SURFACES[rng.integers(len(SURFACES))]
    piece = cut(name, colour.shape[0], colour.shape[1], training, rng).mean(axis=2)
    relief = (piece - piece.mean()) / max(float(piece.std()), 1.0)
    return rng.uniform(*_RELIEF) * np.clip(relief, -2, 2)[..., None]


def _draw_light(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A factor that falls off to one side: (height, width, 1)."""
    turn = rng.uniform(0, 2 * np.pi)
    rows, columns = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    slope = rng.uniform(0, _SHADE) * (np.cos(turn) * columns + np.sin(turn) * rows)
    return (rng.uniform(*_EXPOSURE) * (1 + slope / np.sqrt(2)))[..., None].astype(np.float32)
