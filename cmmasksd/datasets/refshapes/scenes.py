"""Scenes of RefShapes: what lies where, before anybody looks at it or speaks of it."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

KINDS = ('circle', 'square', 'triangle', 'star')
COLOURS = {
    'red': (215, 25, 45),
    'orange': (250, 135, 15),
    'yellow': (245, 225, 40),
    'green': (25, 160, 65),
    'blue': (30, 85, 225),
    'purple': (140, 45, 185),
}  # name -> RGB
# name -> range of the radius, a share of the picture's shorter side
SIZES = {'small': (0.16, 0.18), 'large': (0.25, 0.28)}
TEXTURES = ('solid', 'striped', 'dotted')

MIN_SHAPES, MAX_SHAPES = 3, 4
_TEXTURED_SCENES = 0.25  # share of scenes whose shapes differ in texture; in the others all are solid
_PLACING_TRIES = 80
# range of a scene's least distance between two centres, in sums of the radii: below about 1.2 shapes may overlap
_CLOSEST = (0.55, 1.05)
_APART = 1.1  # the same for two shapes of one colour, whose border would be hard to see
_TILT = {'circle': 0.0, 'square': 12.0, 'triangle': 12.0, 'star': 36.0}  # largest rotation, degrees


def _ring(angles: np.ndarray, radius: float | np.ndarray) -> np.ndarray:
    """Points (P, 2) at ``angles`` in degrees, clockwise from the picture's upward direction."""
    radians = np.deg2rad(angles)
    return np.stack([radius * np.sin(radians), -radius * np.cos(radians)], axis=1)


@functools.cache
def unit_outline(kind: str) -> np.ndarray:
    """Outline (P, 2) of (x, y) of an upright shape of radius 1 about the origin; the radii make the areas of the kinds
    alike.
    """
    if kind == 'circle':
        return _ring(np.arange(0, 360, 7.5), 1.0)
    if kind == 'square':
        return _ring(np.arange(45, 360, 90), 1.25)
    if kind == 'triangle':
        return _ring(np.arange(0, 360, 120), 1.3)
    return _ring(np.arange(0, 360, 36), np.tile([1.35, 0.65], 5))


@dataclass(frozen=True)
class Shape:
    """One shape of a scene; ``x``, ``y`` and ``radius`` in pixels, ``angle`` in degrees."""

    kind: str
    colour: str
    size: str
    texture: str
    x: float
    y: float
    radius: float
    angle: float

    @property
    def outline(self) -> np.ndarray:
        """Corners (P, 2) of (x, y) in the picture, in pixels; the top left pixel covers [0, 1) x [0, 1)."""
        cosine, sine = np.cos(np.deg2rad(self.angle)), np.sin(np.deg2rad(self.angle))
        rotation = np.array([[cosine, sine], [-sine, cosine]])
        return unit_outline(self.kind) @ rotation * self.radius + (self.x, self.y)


@dataclass(frozen=True)
class Scene:
    """A picture's content: its size in pixels and its shapes from back to front."""

    height: int
    width: int
    shapes: tuple[Shape, ...]


def _draw_looks(rng: np.random.Generator) -> list[tuple[str, str, str, str]]:
    """Kind, colour, size and texture of every shape. A scene has few kinds and colours, so that one word is often not
    enough.
    """
    count = int(rng.integers(MIN_SHAPES, MAX_SHAPES + 1))
    kinds = rng.choice(KINDS, size=rng.integers(2, 4), replace=False)
    colours = rng.choice(list(COLOURS), size=rng.integers(3, 5), replace=False)
    textures = TEXTURES if rng.random() < _TEXTURED_SCENES else TEXTURES[:1]
    sizes = ('small', 'small', 'large')  # two large shapes fill a picture
    return [
        (str(rng.choice(kinds)), str(rng.choice(colours)), str(rng.choice(sizes)), str(rng.choice(textures)))
        for _ in range(count)
    ]


def draw_scene(rng: np.random.Generator, height: int, width: int) -> Scene | None:
    """Draws a scene of three or four shapes that lie inside the picture and overlap moderately.

    A shape that finds no place is left out; ``None`` where fewer than three remain.
    """
    closeness = rng.uniform(*_CLOSEST)
    shapes = place(_draw_looks(rng), closeness, SIZES, height, width, rng)
    return Scene(height, width, shapes) if len(shapes) >= MIN_SHAPES else None


def place(
    looks: Iterable[tuple[str, str, str, str]],
    closeness: float,
    sizes: Mapping[str, tuple[float, float]],
    height: int,
    width: int,
    rng: np.random.Generator,
) -> tuple[Shape, ...]:
    """Finds places for shapes, inside the picture, in their order from back to front; who finds none is left out.

    Args:
        looks: kind, colour, size and texture of each.
        closeness: least distance of two centres, in sums of the radii.
        sizes: name -> range of the radius, a share of the picture's shorter side.
        height: of the picture, pixels.
        width: of the picture, pixels.
        rng: draws radii, angles and places.
    """
    shapes: list[Shape] = []
    for kind, colour, size, texture in looks:
        radius = rng.uniform(*sizes[size]) * min(height, width)
        angle = rng.uniform(-1, 1) * _TILT[kind]
        margin = 1 + radius * np.linalg.norm(unit_outline(kind), axis=1).max()
        for _ in range(_PLACING_TRIES):
            x, y = rng.uniform(margin, width - margin), rng.uniform(margin, height - margin)
            gaps = [np.hypot(x - other.x, y - other.y) / (radius + other.radius) for other in shapes]
            if all(gap >= (_APART if colour == other.colour else closeness) for gap, other in zip(gaps, shapes)):
                shapes.append(Shape(kind, colour, size, texture, float(x), float(y), float(radius), float(angle)))
                break
    return tuple(shapes)
