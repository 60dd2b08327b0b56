"""EXIF's orientation: how a viewer turns a picture that training takes as it is stored."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator
from typing import Literal

import torch
from mmengine.logging import print_log

JPEG_START = b'\xff\xd8'
START_OF_SCAN = 0xDA
_EXIF_MARKER, _EXIF_START = 0xE1, b'Exif\0\0'
_BYTE_ORDERS: dict[bytes, Literal['little', 'big']] = {b'II*\0': 'little', b'MM\0*': 'big'}
_PNG_START = b'\x89PNG\r\n\x1a\n'
ORIENTATION = 0x0112
TURNS = range(2, 9)  # 1 is upright; some cameras write 0 for "unknown"
_SWAPS_SIDES = range(5, 9)  # turns of 90 degrees, mirrored or not
_MOST_NAMED = 5


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of the segments before a JPEG's scan, and of the scan's header last, if there is one."""
    position = len(JPEG_START)
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], 'big')
        yield marker, position + 4, end
        if marker == START_OF_SCAN:
            return
        position = end


def read_orientation(data: bytes) -> int:
    """EXIF's orientation, 1 to 8, of a JPEG, PNG or WebP; 1 (upright) where there is none.

    OpenCV turns TIFFs by themselves, whatever it is told, and no other format. Only the header's segments are stepped
    over, which takes microseconds.
    """
    exif = _find_exif(data).removeprefix(_EXIF_START)
    order = _BYTE_ORDERS.get(exif[:4])
    if order is None:
        return 1
    directory = int.from_bytes(exif[4:8], order)
    fields = int.from_bytes(exif[directory : directory + 2], order)
    for start in range(directory + 2, min(directory + 2 + 12 * fields, len(exif) - 11), 12):  # tag, type, count, value
        if int.from_bytes(exif[start : start + 2], order) == ORIENTATION:
            orientation = int.from_bytes(exif[start + 8 : start + 10], order)
            return orientation if orientation in TURNS else 1
    return 1


def _find_exif(data: bytes) -> bytes:
    if data.startswith(JPEG_START):
        found = (
            data[start:end]
            for marker, start, end in jpeg_segments(data)
            if marker == _EXIF_MARKER and data.startswith(_EXIF_START, start)
        )
    elif data.startswith(_PNG_START):
        found = (data[start:end] for kind, start, end in _chunks(data, 8, 'big') if kind == b'eXIf')
    elif data.startswith(b'RIFF') and data[8:12] == b'WEBP':
        found = (data[start:end] for kind, start, end in _chunks(data, 12, 'little') if kind == b'EXIF')
    else:
        return b''
    return next(found, b'')


def _chunks(data: bytes, position: int, order: Literal['little', 'big']) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of PNG's chunks (big-endian: length, kind, content, checksum) or of WebP's (little-endian:
    kind, length, content, filled up to an even length).
    """
    while position + 8 <= len(data):
        first, second, start = data[position : position + 4], data[position + 4 : position + 8], position + 8
        if order == 'big':
            kind, length = second, int.from_bytes(first, 'big')
            position = start + length + 4
        else:
            kind, length = first, int.from_bytes(second, 'little')
            position = start + length + length % 2
        yield kind, start, start + length


class TurnedPictures:
    """Says which annotated pictures a viewer turns: the first ``_MOST_NAMED`` of a run, each once, however many worker
    processes load them and epochs they are loaded in.

    A turn that changes the size needs no warning: the annotated size tells which way the annotator saw the picture.
    """

    def __init__(self) -> None:
        # checksums of the paths that were named, in memory that workers share, forked or spawned
        self._named = torch.zeros(_MOST_NAMED, dtype=torch.int64).share_memory_()

    def note(self, path: str, orientation: int, height: int, width: int) -> None:
        """Warns of a picture of (height, width) stored pixels whose orientation is not 1, if that may matter."""
        if orientation in _SWAPS_SIDES and height != width:
            return
        named, checksum = self._named.tolist(), zlib.crc32(path.encode('utf-8', 'replace')) + 1
        if checksum in named or 0 not in named:
            return
        place = named.index(0)
        self._named[place] = checksum
        last = ' More are not named: check_refer.py lists all.' if place == _MOST_NAMED - 1 else ''
        print_log(
            f'{path} is stored turned (EXIF orientation {orientation}) and used as it is stored. If its masks were '
            f'drawn on the turned picture, save it upright: `mogrify -auto-orient FILE`.{last}',
            logger='current',
            level=logging.WARNING,
        )


def describe_turn(orientation: int) -> str:
    """What to do where the annotated size is that of the turned picture; '' for orientations that keep the size."""
    if orientation not in _SWAPS_SIDES:
        return ''
    return (
        f'it is stored turned (EXIF orientation {orientation}) and was annotated as viewers show it: save it upright, '
        '`mogrify -auto-orient FILE`'
    )
