"""A figure of what was seen: a row of pictures, and above it the sentence as each branch reads it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import Any

import cv2
import numpy as np

from cmmasksd.structures import Letterbox
from cmmasksd.visualization import GROUND_TRUTH_COLOR, PREDICTION_COLOR, Color

from .watching import Seen

MASKED = (0.45, 0.45, 0.45, 0.85)  # over a masked patch
NAMES = dict(lmvsd='LMVSD', vmlsd='VMLSD', main='main branch')
SIDE = 2.4  # of a tile, inches
Tile = tuple[str, Callable[[Any], None]]


def draw(
    pyplot: ModuleType,
    picture: np.ndarray,
    letterbox: Letterbox,
    seen: Seen,
    index: int,
    words: Sequence[str],
    truth: np.ndarray | None = None,
) -> Any:
    """The figure of an expression.

    Args:
        pyplot: matplotlib's.
        picture: (height, width, 3) uint8 RGB.
        letterbox: how it lies in the input, to which the patches belong.
        seen: of :func:`masking.watching.watch`.
        index: of the expression.
        words: the text of each of its tokens, empty for those that are no words.
        truth: (height, width) bool, where it is known.

    Returns:
        matplotlib's figure.
    """
    tiles: list[Tile] = [('picture', lambda axis: None)]
    if truth is not None:
        tiles.append(('ground truth', partial(_mask, truth.astype(float), GROUND_TRUTH_COLOR)))
    tiles.append(('correlation', partial(_heat, to_picture(seen.correlation[index], letterbox))))
    for name, masked in seen.patches.items():
        shown = to_picture(masked[index].astype(np.float64), letterbox)
        tiles.append((f'masked for {NAMES.get(name, name)}', partial(_patches, shown)))
    for name, maps in seen.probabilities.items():
        tiles.append((NAMES.get(name, name), partial(_mask, maps[index], PREDICTION_COLOR)))
    read = {name: masked[index] for name, masked in seen.words.items()}
    return _arrange(pyplot, picture, tiles, sentence(words, read))


def sentence(words: Sequence[str], masked: dict[str, np.ndarray]) -> str:
    """The sentence, and for each branch that masks words a line with boxes in their place."""
    shown = [place for place, word in enumerate(words) if word]
    lines = [' '.join(words[place] for place in shown)]
    for name, chosen in masked.items():
        read = ('\N{WHITE SQUARE}' * len(words[place]) if chosen[place] else words[place] for place in shown)
        lines.append(f'{NAMES.get(name, name)} reads: {" ".join(read)}')
    return '\n'.join(lines)


def to_picture(grid: np.ndarray, letterbox: Letterbox) -> np.ndarray:
    """A map on the patches (h, w) at the picture's own size, each patch of one value."""
    (height, width), original = letterbox.size, letterbox.original
    whole = cv2.resize(grid, (width, height), interpolation=cv2.INTER_NEAREST)
    return cv2.resize(whole[letterbox.window], (original[1], original[0]), interpolation=cv2.INTER_NEAREST)


def _arrange(pyplot: ModuleType, picture: np.ndarray, tiles: Sequence[Tile], title: str) -> Any:
    height = SIDE * picture.shape[0] / picture.shape[1] + 0.5 + 0.2 * (1 + title.count('\n'))
    figure, axes = pyplot.subplots(1, len(tiles), figsize=(SIDE * len(tiles), height), squeeze=False)
    for axis, (name, fill) in zip(axes[0], tiles, strict=True):
        axis.imshow(picture)
        fill(axis)
        axis.set_title(name, fontsize=9)
        axis.set_axis_off()
    figure.suptitle(title, fontsize=10)
    figure.tight_layout()
    return figure


def _heat(values: np.ndarray, axis: Any) -> None:
    axis.imshow(values, cmap='inferno', alpha=0.65)


def _patches(masked: np.ndarray, axis: Any) -> None:
    overlay = np.zeros((*masked.shape, 4))
    overlay[masked > 0.5] = MASKED
    axis.imshow(overlay)


def _mask(opacity: np.ndarray, color: Color, axis: Any) -> None:
    overlay = np.empty((*opacity.shape, 4))
    overlay[..., :3] = np.array(color) / 255
    overlay[..., 3] = 0.6 * opacity
    axis.imshow(overlay)
