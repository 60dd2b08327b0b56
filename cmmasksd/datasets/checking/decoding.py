"""Decodes one picture as training does and listens to what libjpeg says of it; made to be run in worker processes.

libjpeg fills what is damaged in the middle of a JPEG with grey or noise and goes on. OpenCV and PIL give no sign of it
to their callers, but OpenCV leaves libjpeg's one-line warning on the process's standard error, where it is caught here.
No decoder can see damage that still makes valid codes.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import PIL.Image

from cmmasksd.datasets.checking.report import Kind
from cmmasksd.datasets.refer.fields import MAX_IMAGE_PIXELS
from cmmasksd.datasets.refer.records import Image
from cmmasksd.datasets.transforms.loading import JPEG_END, LoadReferringImage
from cmmasksd.datasets.transforms.orientation import ORIENTATION, TURNS

MISSING = Kind('missing-image', 'error', 'pictures that are missing')
UNREADABLE = Kind('unreadable-image', 'error', 'pictures that are truncated or cannot be decoded')
WRONG_SIZE = Kind('image-size', 'error', 'pictures of another size than instances.json says')
DAMAGED = Kind('damaged-jpeg', 'error', 'JPEGs with damage in the middle')
SUSPECT = Kind(
    'suspect-jpeg', 'warning', 'JPEGs with bytes that belong to nothing: harmless padding, or damage in the middle'
)
TURNED = Kind('turned-image', 'warning', 'pictures that viewers turn by their EXIF orientation; training does not')

MAX_FILE_BYTES = 2**28
_JPEG_WARNING = re.compile(r'^.*(?:JPEG|progression).*$', re.MULTILINE)
_LOST = re.compile(
    r'premature end|bad (?:huffman|arithmetic) code|inconsistent progression|found marker', re.IGNORECASE
)

Problem = tuple[Kind, str]


def examine(image: Image) -> list[Problem]:
    """What is the matter with one picture, whose file is read and decoded in full unless it is too large for that."""
    try:
        status = os.stat(image.path)
        if not stat.S_ISREG(status.st_mode):
            return [(UNREADABLE, 'it is a folder or a device, not a file; put the picture in its place')]
        header = _read_header(image.path)
    except PIL.Image.DecompressionBombError as error:
        return [(UNREADABLE, f'{error}; fetch the picture again')]
    except FileNotFoundError:
        return [(MISSING, 'there is no such picture; get it, or check the image folder')]
    except OSError as error:
        return [(UNREADABLE, f'it cannot be read: {error.strerror or error}')]
    height, width, orientation = header or (image.height, image.width, 1)
    if status.st_size > MAX_FILE_BYTES or height * width > MAX_IMAGE_PIXELS:
        return [
            (
                UNREADABLE,
                f'{status.st_size} bytes of {height} x {width} pixels (height x width) are more than is read; fetch '
                'the picture again',
            )
        ]
    problems: list[Problem] = []
    if (height, width) != (image.height, image.width):
        problems.append((WRONG_SIZE, _describe_size(height, width, image)))
    if orientation in TURNS:
        reason = (
            f'its EXIF orientation is {orientation}, and annotations must be in stored pixels; if its masks were drawn '
            'on the turned picture, save it upright (`mogrify -auto-orient FILE`), else drop the tag'
        )
        problems.append((TURNED, reason))
    return problems + _decode(image.path, height, width)


def _read_header(path: str) -> tuple[int, int, int | None] | None:
    """(height, width, EXIF orientation); None where PIL knows no picture in the file."""
    with open(path, 'rb') as file, warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of sizes, which are looked at here
        try:
            with PIL.Image.open(file) as picture:
                return picture.height, picture.width, picture.getexif().get(ORIENTATION)
        except PIL.Image.DecompressionBombError:
            raise
        # PIL's parsers raise almost anything at strangers' bytes; the decoder then says what it thinks of the file
        except Exception:
            return None


def _describe_size(height: int, width: int, image: Image) -> str:
    return (
        f'the picture is {height} x {width} pixels but instances.json says {image.height} x {image.width} (height x '
        'width); '
        'put the picture that was annotated in its place'
    )


def _decode(path: str, height: int, width: int) -> list[Problem]:
    """Runs the transform that training runs, and reads what the decoder wrote to standard error meanwhile."""
    with _hear_decoder() as heard:
        try:
            LoadReferringImage(name_turned=False)({'img_path': path, 'height': height, 'width': width})
        except Exception as error:  # any failure is the finding: one picture must not hide the others
            reason = str(error).removeprefix(f'{path}: ')
            return [(UNREADABLE, reason if isinstance(error, ValueError) else f'{type(error).__name__}: {reason}')]
    lines = _JPEG_WARNING.findall(heard[0])
    return [
        (DAMAGED if _LOST.search(line) else SUSPECT, f'libjpeg says {line.strip()!r}; fetch the picture again')
        for line in lines[:1]
    ]


@contextmanager
def _hear_decoder() -> Iterator[list[str]]:
    """Catches the file descriptor of standard error, which C code writes to; the list gets the text at the end."""
    heard = ['']
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield heard
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            heard[0] = file.read().decode(errors='replace')


def hears_damage() -> bool:
    """Whether this OpenCV passes libjpeg's warnings on, tried with a JPEG that lacks half of its content but not its
    end.
    """
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = cv2.imencode('.jpg', noise)[1]
    cut = np.concatenate([data[: data.size // 2], np.frombuffer(JPEG_END, np.uint8)])
    with _hear_decoder() as heard:
        cv2.imdecode(cut, cv2.IMREAD_COLOR)
    return bool(_JPEG_WARNING.search(heard[0]))
