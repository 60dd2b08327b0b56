"""What people hand over as a picture: a path, a PIL image or an array; and the pictures of a folder."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

Picture = str | Path | Image.Image | np.ndarray
MOST_MEGAPIXELS = 100  # of a stranger's picture


def as_input(picture: Picture) -> dict[str, Any]:
    """A picture as the first step of a pipeline takes it.

    Raises:
        TypeError: a PIL image of 32 bits.
        ValueError: a PIL image whose file is cut off or damaged.
    """
    if isinstance(picture, (str, Path)):
        return dict(img_path=str(picture))
    return dict(img=_to_rgb(picture) if isinstance(picture, Image.Image) else picture)


def name_of(picture: Picture) -> str:
    """The file of a picture, or nothing where it has none."""
    return str(picture) if isinstance(picture, (str, Path)) else str(getattr(picture, 'filename', ''))


def list_pictures(folder: str | Path) -> list[Path]:
    """The pictures of a folder, by name; those of its folders are not among them, nor files whose ending is no
    picture's.

    Raises:
        ValueError: there is none.
    """
    found = sorted(path for path in Path(folder).iterdir() if path.is_file() and _is_picture(path))
    if not found:
        raise ValueError(f'{folder} has no picture in it: name a folder with .jpg, .png ... files.')
    return found


def distinct_stems(pictures: Sequence[str]) -> list[str]:
    """Stems of files to write about pictures: those of their own files, numbered (``a-2``) where pictures of several
    folders or kinds share one; ``picture`` where there is no file.
    """
    stems = [Path(picture).stem or 'picture' for picture in pictures]
    taken, count = set(stems), Counter[str]()
    names = []
    for stem in stems:
        count[stem] += 1
        name = stem
        while count[stem] > 1 and name in taken:
            name = f'{stem}-{count[stem]}'
            count[stem] += name in taken
        taken.add(name)
        names.append(name)
    return names


def check_picture(picture: str | BinaryIO, name: str | None = None) -> None:
    """Looks at a picture's header; its pixels are read with the model's own reader later.

    Args:
        picture: its file, or that file opened.
        name: for messages; None: the file's.

    Raises:
        ValueError: no picture, or one of too many pixels.
    """
    name = name or (Path(picture).name if isinstance(picture, str) else 'the picture')
    limit = f'at most {MOST_MEGAPIXELS} are taken, so make it smaller first.'
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            with Image.open(picture) as opened:
                pixels = opened.width * opened.height
    except Image.DecompressionBombError:
        raise ValueError(f'{name} has far more megapixels than fit: {limit}') from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        raise ValueError(f'{name} is no picture that can be read: take a JPEG, PNG or WebP file.') from None
    if pixels > MOST_MEGAPIXELS * 10**6:
        raise ValueError(f'{name} has {pixels / 10**6:.0f} megapixels: {limit}')


def _is_picture(path: Path) -> bool:
    return bool(path.suffix) and cv2.haveImageWriter(f'picture{path.suffix}')


def _to_rgb(image: Image.Image) -> np.ndarray:
    """A PIL image as (height, width, 3) uint8, turned as its EXIF data say; as a file of it would be read."""
    name = name_of(image) or 'the given picture'
    if image.mode in ('I', 'F'):
        raise TypeError(
            f'{name}: a PIL image of mode {image.mode} (32 bits) has no known range: bring it to 8 bits first.'
        )
    try:
        upright = ImageOps.exif_transpose(image)
    # PIL decodes a file when its pixels are asked for; a broken PNG is a SyntaxError
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f'{name}: the file is truncated or damaged ({error}); fetch it again.') from error
    if upright.mode.startswith('I;16'):  # PIL would take all above 255 for white
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    return np.array(upright.convert('RGB'))
