"""The pictures and masks that a table's rows name, each opened once and checked."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from pycocotools import mask as coco_mask

from cmmasksd.datasets.refer.errors import ReferError
from cmmasksd.datasets.refer.fields import check_image_size
from cmmasksd.datasets.refer.segmentation import Segmentation, clean_segmentation, decode_mask
from cmmasksd.datasets.transforms.loading import LoadReferringImage
from cmmasksd.datasets.transforms.orientation import ORIENTATION, TURNS

# what PIL raises for broken files
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, PILImage.DecompressionBombError)
Made = TypeVar('Made')


@dataclass(frozen=True)
class Picture:
    """A picture: ``digest`` of its bytes, so that copies under two names are one picture; ``suffix`` begins with a
    dot.
    """

    path: Path
    digest: str
    suffix: str
    height: int
    width: int

    @property
    def stem(self) -> str:
        """The file's name as plain ASCII, without suffix."""
        return re.sub(r'[^A-Za-z0-9._-]', '_', self.path.stem)[:80]


@dataclass(frozen=True)
class Mask:
    """A mask: the segmentation to be written, and ``code``, which is equal for equal pixels."""

    segmentation: Segmentation
    code: bytes
    dropped: int


class Sources:
    """Pictures and masks by their names in the table. What is wrong with a file is told for every row that names it.

    Args:
        images: folder that names of pictures are relative to.
        masks: folder that names of masks are relative to.
        threshold: pixels of a mask file above this grey level belong to the object; None: those that are not black.
    """

    def __init__(self, images: Path, masks: Path, threshold: int | None = None) -> None:
        self._images, self._masks, self._threshold = images, masks, threshold
        self._known: dict[Any, Any] = {}

    def picture(self, name: str) -> Picture:
        """Raises ReferError for a picture that is missing, broken or turned by its EXIF data."""
        return self._once(('picture', name), lambda: _read_picture(_locate(self._images, name)))

    def mask(self, mask: str | list | dict, picture: Picture) -> Mask:
        """Raises ReferError for a mask that is missing, broken, empty or of another size than its picture."""
        if not isinstance(mask, str):
            return _trace(mask, picture)
        path = _locate(self._masks, mask)
        return self._once(('mask', mask, picture.digest), lambda: _encode(_read_mask(path, picture, self._threshold)))

    def _once(self, key: Any, make: Callable[[], Made]) -> Made:
        if key not in self._known:
            try:
                self._known[key] = make()
            except ReferError as error:
                self._known[key] = error
        if isinstance(self._known[key], ReferError):
            raise self._known[key]
        return self._known[key]


def _locate(folder: Path, name: str) -> Path:
    """The file of that name; backslashes, as in tables made on Windows, separate folders where that leads to a file."""
    path, slashed = folder / name, folder / name.replace('\\', '/')
    return slashed if not os.path.isfile(path) and os.path.isfile(slashed) else path


def _hint(path: Path) -> str:
    """A name in the same folder that differs in upper and lower case or in the form of accents, as other systems
    ignore them.
    """
    similar = _folded_names(path.parent).get(_fold(path.name))
    return f' (there is {similar!r})' if similar else ''


@lru_cache(maxsize=16)
def _folded_names(folder: Path) -> dict[str, str]:
    return {_fold(name): name for name in os.listdir(folder)} if os.path.isdir(folder) else {}


def _fold(name: str) -> str:
    return unicodedata.normalize('NFC', name).casefold()


def _read_picture(path: Path) -> Picture:
    if not os.path.isfile(path):  # unlike pathlib's, false for names that no file can have
        raise ReferError(
            f'there is no picture {path}{_hint(path)}; correct the name, or give the folder it is relative to '
            '(--images)'
        )
    try:
        with PILImage.open(path) as image:
            (width, height), kind, orientation = (
                image.size,
                f'.{image.format}'.lower(),
                image.getexif().get(ORIENTATION, 1),
            )
    except _BROKEN as error:
        raise ReferError(f'{path} is truncated or no picture ({error}); fetch it again') from error
    check_image_size(height, width)
    if orientation in TURNS:
        raise ReferError(
            f'{path} is stored turned (EXIF orientation {orientation}), so it is not plain which way its mask lies; '
            'save the picture upright (`mogrify -auto-orient FILE`), or drop the tag if the mask lies as the stored '
            'pixels do (`exiftool -Orientation= FILE`)'
        )
    try:
        # the very check that training does
        LoadReferringImage(name_turned=False).transform({'img_path': str(path), 'height': height, 'width': width})
    except ValueError as error:
        raise ReferError(str(error)) from error
    suffix = path.suffix if path.suffix[1:].isalnum() and path.suffix.isascii() else kind
    return Picture(path, hashlib.sha256(path.read_bytes()).hexdigest(), suffix, height, width)


def _trace(mask: list | dict, picture: Picture) -> Mask:
    """Polygons or RLE as they were given, but for degenerate parts."""
    parts = [mask] if isinstance(mask, list) and mask and not isinstance(mask[0], (list, dict)) else mask
    segmentation, dropped = clean_segmentation(parts, picture.height, picture.width)
    pixels = decode_mask(segmentation, picture.height, picture.width, 'its mask')
    if isinstance(segmentation, dict) and isinstance(segmentation['counts'], bytes):
        segmentation = {**segmentation, 'counts': segmentation['counts'].decode()}  # JSON has no bytes
    return Mask(segmentation, _encode(pixels).code, dropped)


def _encode(pixels: NDArray[np.bool_]) -> Mask:
    height, width = pixels.shape
    code = coco_mask.encode(np.asfortranarray(pixels, np.uint8))['counts']
    return Mask({'size': [height, width], 'counts': code.decode()}, code, 0)


def _read_mask(path: Path, picture: Picture, threshold: int | None) -> NDArray[np.bool_]:
    """(height, width) bool of a mask file: black and one other colour, or grey levels with a threshold."""
    if not os.path.isfile(path):
        raise ReferError(
            f'there is no mask {path}{_hint(path)}; correct the name, or give the folder it is relative to (--masks)'
        )
    try:
        with PILImage.open(path) as image:
            if image.size != (picture.width, picture.height):
                raise ReferError(
                    f'the mask {path} is {image.height} x {image.width} pixels, but its picture {picture.path} '
                    f'{picture.height} x {picture.width} (height x width); draw it on the picture at its own size'
                )
            if image.getexif().get(ORIENTATION) in TURNS:
                raise ReferError(
                    f'the mask {path} is stored turned (EXIF orientation), so it is not plain which way it lies; save '
                    'it upright, as PNG'
                )
            pixels = _above(image, threshold, path) if threshold is not None else _not_black(image, path)
    except ReferError:
        raise
    except _BROKEN as error:
        raise ReferError(f'the mask {path} cannot be read ({error}); save it again as PNG') from error
    if not pixels.any():
        raise ReferError(
            f'the mask {path} is empty: no pixel belongs to the object; draw the object or leave the row out'
        )
    return pixels


def _above(image: PILImage.Image, threshold: int, path: Path) -> NDArray[np.bool_]:
    if image.mode.startswith(('I', 'F')):
        raise ReferError(
            f'the mask {path} has more than 256 grey levels, for which --mask-threshold is not meant; save it as '
            '8-bit PNG'
        )
    return np.asarray(image.convert('L')) > threshold


def _not_black(image: PILImage.Image, path: Path) -> NDArray[np.bool_]:
    if image.mode in ('LA', 'PA', 'RGBA') or 'transparency' in image.info:
        image = image.convert('RGBA')
        if np.asarray(image)[..., 3].min() < 255:
            raise ReferError(
                f'the mask {path} is transparent in places; save it without transparency: black, and the object in '
                'one other colour'
            )
    # A palette is looked up, since its first colour need not be black.
    levels = np.asarray(
        image if image.mode in ('1', 'L') or image.mode.startswith(('I', 'F')) else image.convert('RGB')
    )
    if levels.ndim == 3:
        levels = levels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    pixels = levels != 0
    if pixels.any() and (levels[pixels] != levels[pixels][0]).any():
        number = len(np.unique(levels[pixels]))
        raise ReferError(
            f'the mask {path} has {number} colours beside black; give each object a mask of its own with one, '
            'or say from which grey level on pixels belong to it (--mask-threshold 127)'
        )
    return pixels
