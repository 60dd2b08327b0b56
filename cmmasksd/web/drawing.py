"""How answers look: pictures of a size for screens, masks in colours that everybody tells apart, heat maps."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib import colormaps

from cmmasksd.web.answers import Answer

# Okabe and Ito's, told apart with every kind of colour vision; grey in place of black, since legends stand on them.
PALETTE = ('#D55E00', '#56B4E9', '#F0E442', '#0072B2', '#009E73', '#CC79A7', '#E69F00', '#999999')
INSIDE, OUTLINE = 0.5, 1.0  # opacity
HEAT = 'inferno'
HEAT_OPACITY = 0.65

Annotations = list[tuple[np.ndarray | tuple[int, int, int, int], str]]  # as gr.AnnotatedImage types it


@dataclass(frozen=True, eq=False)
class Drawing:
    """What gr.AnnotatedImage takes.

    Attributes:
        picture: (height, width, 3) uint8 RGB.
        annotations: opacity (height, width) in [0, 1] and legend of each sentence.
        colors: of the legends, as hex codes.
    """

    picture: np.ndarray
    annotations: Annotations
    colors: dict[str, str]


def draw_masks(answer: Answer, threshold: float) -> Drawing:
    """The masks of an answer at a threshold; the legend tells how much of the picture each one takes."""
    preview = answer.preview.at(threshold)
    legends = [
        f'{number}  {sentence} · {_share(mask, threshold)}'
        for number, (sentence, mask) in enumerate(zip(preview.expressions, preview.masks), start=1)
    ]
    colors = {legend: PALETTE[index % len(PALETTE)] for index, legend in enumerate(legends)}
    return Drawing(preview.image, list(zip(map(_opacity, preview.masks), legends)), colors)


def draw_correlation(answer: Answer, sentence: str) -> np.ndarray:
    """The picture under the heat map of a sentence's correlation with its patches, (height, width, 3) uint8 RGB."""
    picture = answer.preview.image
    height, width = picture.shape[:2]
    correlation = answer.correlations[answer.result.expressions.index(sentence)]
    correlation = cv2.resize(correlation, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    heat = colormaps[HEAT](correlation)[..., :3] * 255
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None]
    return (HEAT_OPACITY * heat + (1 - HEAT_OPACITY) * grey).round().astype(np.uint8)


def _share(mask: np.ndarray, threshold: float) -> str:
    share = 100 * mask.mean()
    if not share:
        return f'nothing above {threshold:g}'
    return f'{share:.0f} %' if share >= 1 else 'under 1 %'


def _opacity(mask: np.ndarray) -> np.ndarray:
    """A translucent mask with a solid outline."""
    width = 1 + max(mask.shape) // 400
    inner = cv2.erode(mask.astype(np.uint8), np.ones((2 * width + 1,) * 2, np.uint8), borderValue=0)
    return np.where(mask, np.where(inner, INSIDE, OUTLINE), 0.0)
