"""Brush masks as Label Studio stores them: run lengths of the bytes of an RGBA picture, packed in bits (rle-pack)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

CHANNELS, ALPHA = 4, 3
RUN_BITS = (3, 4, 8, 16)  # a run's length is written in one of these widths
WORD_BITS = 8
LONGEST = 1 << RUN_BITS[-1]
OPAQUE = 128  # edges of strokes are antialiased; from here on a pixel is more inside than outside
_FILLED, _EMPTY = '1' * WORD_BITS, '0' * WORD_BITS


def encode_brush(mask: NDArray[np.bool_]) -> list[int]:
    """A mask as Label Studio's ``rle``, byte for byte as its own converter writes it.

    Args:
        mask: (height, width) bool.
    """
    flat = np.asarray(mask, bool).ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(starts, append=flat.size) * CHANNELS
    parts = [f'{flat.size * CHANNELS:032b}{WORD_BITS - 1:05b}', *(f'{bits - 1:04b}' for bits in RUN_BITS)]
    for length, is_inside in zip(lengths.tolist(), flat[starts].tolist()):
        parts.append(_write_run(length, _FILLED if is_inside else _EMPTY))
    bits = ''.join(parts)
    bits += '0' * (8 - len(bits) % 8)
    return list(int(bits, 2).to_bytes(len(bits) // 8, 'big'))


def _write_run(length: int, word: str) -> str:
    """The bits of a run; a long one becomes several of the widest form."""
    whole, rest = divmod(length - 1, LONGEST)
    rest += 1
    index = len(RUN_BITS) - 1 if whole else next(k for k, bits in enumerate(RUN_BITS) if rest <= 1 << bits)
    widest = len(RUN_BITS) - 1
    return _block(widest, LONGEST, word) * whole + _block(index, rest, word)


def _block(index: int, length: int, word: str) -> str:
    return f'1{index:02b}{length - 1:0{RUN_BITS[index]}b}{word}'


def decode_brush(rle: Any, height: int, width: int) -> NDArray[np.bool_]:
    """A mask of Label Studio's ``rle``: where it is more opaque than not.

    Args:
        rle: list of bytes, whatever wrote it: the editor mixes runs with bytes one by one.
        height, width: of the picture, as the annotation tells them.

    Returns:
        (height, width) bool.

    Raises:
        ValueError: no such list, one that is cut off, or of another size.
    """
    bits = _Bits(rle)
    expected = height * width * CHANNELS
    if (total := bits.read(32)) != expected:
        raise ValueError(f'its rle holds {total} bytes, but {height} x {width} pixels of RGBA are {expected}')
    if (word_bits := bits.read(5) + 1) != WORD_BITS:
        raise ValueError(f'its rle has words of {word_bits} bits, where Label Studio writes {WORD_BITS}')
    widths = [bits.read(4) + 1 for _ in RUN_BITS]
    alpha = np.zeros(height * width, np.uint8)
    begin = 0
    while begin < total:
        is_run = bits.read(1)
        end = begin + bits.read(widths[bits.read(2)]) + 1
        if end > total:
            raise ValueError(f'its rle runs over its end ({end} of {total} bytes)')
        own = slice(begin // CHANNELS, end // CHANNELS)  # the alpha values among these bytes
        if is_run:
            alpha[own] = bits.read(WORD_BITS)
        else:
            alpha[own] = bits.read_bytes(end - begin)[(ALPHA - begin) % CHANNELS :: CHANNELS]
        begin = end
    return (alpha >= OPAQUE).reshape(height, width)


class _Bits:
    """Reads numbers of any number of bits from a list of bytes."""

    def __init__(self, rle: Any) -> None:
        try:
            self._data = bytes(rle) if isinstance(rle, list) else b''
        except (TypeError, ValueError):
            self._data = b''
        if not self._data:
            raise ValueError('its rle is no list of bytes (numbers from 0 to 255)')
        self._place = 0

    def read(self, count: int) -> int:
        begin, end = self._place, self._place + count
        if end > 8 * len(self._data):
            raise ValueError('its rle is cut off')
        self._place = end
        last = (end + 7) // 8
        return int.from_bytes(self._data[begin // 8 : last], 'big') >> (8 * last - end) & ((1 << count) - 1)

    def read_bytes(self, count: int) -> NDArray[np.uint8]:
        """``count`` numbers of eight bits."""
        return np.frombuffer(self.read(8 * count).to_bytes(count, 'big'), np.uint8)
