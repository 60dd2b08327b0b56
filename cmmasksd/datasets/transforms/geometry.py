"""Where the picture lies: letterbox, and a flip that speaks of it."""

from __future__ import annotations

import re
from typing import Literal, get_args

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from cmmasksd.datasets.transforms.loading import name_record
from cmmasksd.registry import TRANSFORMS
from cmmasksd.structures import Letterbox

Resampling = Literal['opencv', 'pillow']

BORDER = (123, 117, 104)
"""CLIP's mean in 0..255, rounded: RGB of the letterbox's border, as in CRIS; zero after normalisation but for the
rounding.
"""

SIDE = re.compile(
    r"""\b(?P<before>(?:top|bottom|upper|lower|far|front|back)?)
        (?P<side>left|right|lft|rght|rgt|rt)
        (?P<after>(?:most|hand|handed|side|ward|wards|er|est|y)?)\b""",
    re.IGNORECASE | re.VERBOSE,
)
MIRRORED = {'left': 'right', 'lft': 'right', 'right': 'left', 'rght': 'left', 'rgt': 'left', 'rt': 'left'}


def _swap_side(match: re.Match[str]) -> str:
    side = match['side']
    mirrored = MIRRORED[side.lower()]
    if side.isupper():
        mirrored = mirrored.upper()
    elif side[0].isupper():
        mirrored = mirrored.capitalize()
    return match['before'] + mirrored + match['after']


def swap_sides(sentence: str) -> str:
    """Swaps left and right in an expression, as its mirrored picture demands.

    Whole words only ("bright", "leftover" and "upright" stay), with the endings and beginnings that people put to them
    ("leftmost", "left-hand", "bottomleft") and the short forms in RefCOCO ("lft", "rt"; "lt" stays, it mostly means
    light). Upper and lower case are kept.
    """
    return SIDE.sub(_swap_side, sentence)


@TRANSFORMS.register_module()
class FlipWithSentence(BaseTransform):
    """Mirrors the picture and its masks left to right, and swaps left and right in the sentences. Comes before the
    letterbox and the tokens.

    Args:
        prob: probability, drawn from ``results['rng']``.

    Raises:
        ValueError: ``prob`` outside [0, 1], or a pipeline in which the letterbox or the tokens are there already, or
            the sentences are not.
    """

    def __init__(self, prob: float = 0.5) -> None:
        if isinstance(prob, bool) or not isinstance(prob, (int, float)) or not 0 <= prob <= 1:
            raise ValueError(f'FlipWithSentence.prob must be a number in [0, 1], got {prob!r}.')
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Changes ``img``, ``masks`` and ``texts``, or nothing; sets ``flip``: whether the picture is mirrored now."""
        if 'texts' not in results:
            raise ValueError('FlipWithSentence must stand after SelectSentences in the pipeline.')
        for key, later in (('letterbox', 'LetterboxResize'), ('input_ids', 'TokenizeExpressions')):
            if key in results:
                raise ValueError(f'FlipWithSentence must stand before {later} in the pipeline.')
        results.setdefault('flip', False)
        if results['rng'].random() >= self.prob:
            return results
        results['flip'] = not results['flip']
        results['img'] = np.ascontiguousarray(results['img'][:, ::-1])
        results['texts'] = [swap_sides(text) for text in results['texts']]
        if 'masks' in results:
            results['masks'] = np.ascontiguousarray(results['masks'][..., ::-1])
        return results


@TRANSFORMS.register_module()
class StretchPicture(BaseTransform):
    """Makes the sample one of another size, as if its picture had been stored so: what is predicted and scored is of
    that size. LAVT's test.py compares masks at 480x480.

    The picture is resized by Pillow, linearly; of the masks the nearest pixel is taken, as torchvision has it.

    Args:
        size: (height, width), whatever the picture's aspect ratio.

    Raises:
        ValueError: a size that is not two whole numbers of at least 1, or a letterbox that is there already.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = _whole_sides(size, 'StretchPicture')

    def transform(self, results: dict) -> dict:
        """Changes ``img``, ``masks``, ``height`` and ``width``."""
        if 'letterbox' in results:
            raise ValueError('StretchPicture must stand before LetterboxResize in the pipeline.')
        height, width = self.size
        results['img'] = _resize_by_pillow(results['img'], self.size, Image.Resampling.BILINEAR)
        if 'masks' in results:
            masks = np.empty((len(results['masks']), height, width), bool)
            for placed, mask in zip(masks, results['masks']):
                placed[:] = _resize_by_pillow(mask, self.size, Image.Resampling.NEAREST)
            results['masks'] = masks
        return results | dict(height=height, width=width)


@TRANSFORMS.register_module()
class LetterboxResize(BaseTransform):
    """Scales the picture into the network's input, centred, its aspect ratio kept; the border is CLIP's mean.

    Cubic interpolation for the picture and linear for masks, as in CRIS, but in whole pixels
    (:class:`cmmasksd.structures.Letterbox`), so that it inverts exactly. ``img`` becomes (H, W, 3) uint8, ``masks`` (R,
    H, W) float32 in [0, 1].

    Args:
        size: (H, W) of the network's input.
        resize_masks: False keeps the masks at the picture's own size, for evaluation.
        scale: how much of the input the picture fills, in (0, 1]; below 1 the border is wider, for test-time
            augmentation by scales, which so serves encoders of any kind, at their own input.
        keep_ratio: False stretches the picture over the whole input, without a border, as LAVT does.
        resampling: of the picture: ``opencv``, cubic, as in CRIS; or ``pillow``, linear over all pixels that fall
            together, as torchvision and so LAVT do.

    Raises:
        ValueError: a size that is not two whole numbers of at least 1, a scale outside (0, 1], or another resampling; a
            picture that is not (height, width, 3) uint8, or masks of another size.
    """

    def __init__(
        self,
        size: tuple[int, int],
        resize_masks: bool = True,
        scale: float = 1.0,
        keep_ratio: bool = True,
        resampling: Resampling = 'opencv',
    ) -> None:
        self.size = _whole_sides(size, 'LetterboxResize')
        if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0 < scale <= 1:
            raise ValueError(
                f'LetterboxResize.scale is the share of the input that the picture fills, a number in (0, 1], got '
                f'{scale!r}.'
            )
        if resampling not in get_args(Resampling):
            raise ValueError(f"LetterboxResize.resampling is 'opencv' or 'pillow', got {resampling!r}.")
        self.resize_masks = resize_masks
        self.scale = scale
        self.keep_ratio = keep_ratio
        self.resampling = resampling

    def transform(self, results: dict) -> dict:
        """Changes ``img`` and, if asked to, ``masks``; adds ``letterbox``."""
        self._check(results)
        letterbox = self._fit(results['img'].shape[:2])
        results['img'] = self._place_picture(results['img'], letterbox)
        if self.resize_masks and 'masks' in results:
            results['masks'] = place_masks(results['masks'], letterbox)
        results['letterbox'] = letterbox
        return results

    def _place_picture(self, picture: np.ndarray, letterbox: Letterbox) -> np.ndarray:
        """(H, W, 3), a view of contiguous planes (3, H, W): what the model takes, so that packing need not copy it
        again.
        """
        planes = np.empty((3, *letterbox.size), np.uint8)
        for plane, value in zip(planes, BORDER):
            _fill_border(plane, letterbox, value)
        scale = _scale_by_pillow if self.resampling == 'pillow' else _scale
        cv2.split(scale(picture, letterbox), [plane[letterbox.window] for plane in planes])
        return planes.transpose(1, 2, 0)

    def _fit(self, original: tuple[int, int]) -> Letterbox:
        height, width = (max(1, round(side * self.scale)) for side in self.size)
        scaled = Letterbox.fit(original, (height, width)).scaled if self.keep_ratio else (height, width)
        offset = (self.size[0] - scaled[0]) // 2, (self.size[1] - scaled[1]) // 2
        return Letterbox((original[0], original[1]), scaled, offset, self.size)

    @staticmethod
    def _check(results: dict) -> None:
        """Makes sure that nothing before has parted picture and masks, which are compared by what they are."""
        picture, masks = results['img'], results.get('masks')
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(
                f'{name_record(results)}: the picture is {picture.dtype} of shape {picture.shape} before '
                'LetterboxResize, not uint8 of (height, width, 3): the model normalises it. Put transforms of other '
                'projects in AugmentPicture.'
            )
        if results.get('flip_direction') or (masks is not None and masks.shape[1:] != picture.shape[:2]):
            raise ValueError(
                f'{name_record(results)}: before LetterboxResize the picture was flipped or resized, and not its masks '
                "and sentences: write dict(type='AugmentPicture', transforms=[...]) around such transforms."
            )


def place_masks(masks: np.ndarray, letterbox: Letterbox) -> np.ndarray:
    """Masks (R, height, width) bool as they lie in the input: (R, H, W) float32 in [0, 1]."""
    placed = np.empty((len(masks), *letterbox.size), np.float32)
    bytes_ = masks.view(np.uint8) * np.uint8(255)
    for canvas, mask in zip(placed, bytes_):
        _fill_border(canvas, letterbox, 0)
        np.divide(_scale(mask, letterbox, cv2.INTER_LINEAR), 255, out=canvas[letterbox.window], dtype=np.float32)
    return placed


def _fill_border(canvas: np.ndarray, letterbox: Letterbox, value: int) -> None:
    rows, columns = letterbox.window
    canvas[: rows.start] = canvas[rows.stop :] = value
    canvas[rows, : columns.start] = canvas[rows, columns.stop :] = value


def _scale(picture: np.ndarray, letterbox: Letterbox, interpolation: int = cv2.INTER_CUBIC) -> np.ndarray:
    if letterbox.scaled == letterbox.original:
        return picture
    height, width = letterbox.scaled
    return cv2.resize(picture, (width, height), interpolation=interpolation)


def _scale_by_pillow(picture: np.ndarray, letterbox: Letterbox) -> np.ndarray:
    return _resize_by_pillow(picture, letterbox.scaled, Image.Resampling.BILINEAR)


def _resize_by_pillow(picture: np.ndarray, size: tuple[int, int], resampling: Image.Resampling) -> np.ndarray:
    """A picture (height, width, 3) uint8, or a mask (height, width) bool, at another size; itself where it has it."""
    if picture.shape[:2] == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize((size[1], size[0]), resampling))


def _whole_sides(size: object, what: str) -> tuple[int, int]:
    sides = tuple(size) if isinstance(size, (tuple, list)) else ()
    if len(sides) != 2 or any(type(side) is not int or side < 1 for side in sides):
        raise ValueError(f'{what}.size must be (height, width), two whole numbers of at least 1 pixel, got {size!r}.')
    return sides[0], sides[1]
