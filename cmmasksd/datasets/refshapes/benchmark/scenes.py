"""Scenes in which one look is not enough: two or three shapes look the same, others differ from them in one thing."""

from __future__ import annotations

import numpy as np

from cmmasksd.datasets.refshapes.scenes import COLOURS, KINDS, TEXTURES, Scene, place

Look = tuple[str, str, str, str]  # kind, colour, size, texture

# name -> range of the radius, a share of the picture's shorter side
SIZES = {'small': (0.10, 0.12), 'large': (0.165, 0.19)}
MIN_SHAPES = 4
_TWINS = (2, 3)  # shapes of one and the same look
_OTHERS = (2, 4)  # least and most further shapes
_NEAR_MISSES = 0.6  # share of these that differ from the twins in one attribute only
_TEXTURED_SCENES = 0.3
_CLOSEST = (0.4, 1.0)  # range of a scene's least distance between two centres, in sums of the radii


def draw_twin_scene(rng: np.random.Generator, height: int, width: int) -> Scene | None:
    """Draws four to seven shapes of which two or three look the same; ``None`` where too few find a place."""
    closeness = rng.uniform(*_CLOSEST)
    shapes = place(_draw_looks(rng), closeness, SIZES, height, width, rng)
    return Scene(height, width, shapes) if len(shapes) >= MIN_SHAPES else None


def _draw_looks(rng: np.random.Generator) -> list[Look]:
    textures = TEXTURES if rng.random() < _TEXTURED_SCENES else TEXTURES[:1]
    choices = (KINDS, tuple(COLOURS), ('small', 'small', 'large'), textures)
    twin = _draw_look(choices, rng)
    looks = [twin] * int(rng.integers(_TWINS[0], _TWINS[1] + 1))
    for _ in range(rng.integers(_OTHERS[0], _OTHERS[1] + 1)):
        other = _draw_look(choices, rng)
        if rng.random() < _NEAR_MISSES:
            changed = rng.choice(4, p=(0.35, 0.35, 0.2, 0.1))
            kind, colour, size, texture = (pair[index == changed] for index, pair in enumerate(zip(twin, other)))
            other = (kind, colour, size, texture)
        looks.append(other)
    return [looks[index] for index in rng.permutation(len(looks))]


def _draw_look(choices: tuple[tuple[str, ...], ...], rng: np.random.Generator) -> Look:
    kind, colour, size, texture = (names[rng.integers(len(names))] for names in choices)
    return kind, colour, size, texture
