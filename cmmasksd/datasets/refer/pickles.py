"""Reads a pickle as data: lists, dicts, strings, numbers, booleans and None, and nothing that runs.

REFER keeps its expressions in ``refs(*).p``, a Python-2 pickle that people fetch from mirrors. A list of allowed
globals is not enough for such a file: the unpickler's own opcodes can ask for gigabytes in nine bytes (a memo index),
so the opcodes are checked before the unpickler sees them.
"""

from __future__ import annotations

import io
import os
import pickle
import pickletools
from collections import deque
from typing import Any, NoReturn

from cmmasksd.datasets.refer.plain_values import describe_object, describe_opcode, describe_other_file

MAX_FILE_BYTES = 128 * 2**20
MAX_OPCODES = 2**25  # each makes at most one small object, 80 bytes for an empty dict
_DAMAGED = 'it is cut off or broken'
_MAX_NUMBER_TEXT = 22  # a signed 64-bit integer with Python 2's trailing L
_MAX_FLOAT_TEXT = 32
_MAX_LONG_BYTES = 8

# Opcode -> bytes of its argument. Left out on purpose: all that imports, calls or builds (GLOBAL, REDUCE, BUILD, INST,
# OBJ, NEWOBJ, EXT, PERSID ...), buffers and 8-byte lengths, DUP and POP, which no pickler emits for such data, and
# tuples and sets: only hashable containers can be nested keys, whose hash recurses in C without a limit.
_FIXED_WIDTH = {
    **dict.fromkeys((pickle.MARK, pickle.STOP, pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.MEMOIZE), 0),
    **dict.fromkeys((pickle.EMPTY_LIST, pickle.LIST, pickle.APPEND, pickle.APPENDS), 0),
    **dict.fromkeys((pickle.EMPTY_DICT, pickle.DICT, pickle.SETITEM, pickle.SETITEMS), 0),
    **dict.fromkeys((pickle.PROTO, pickle.BININT1, pickle.BINGET, pickle.BINPUT), 1),
    pickle.BININT2: 2,
    pickle.BININT: 4,
    pickle.LONG_BINGET: 4,
    pickle.BINFLOAT: 8,
}
_LENGTH_WIDTH = {  # opcode -> (bytes of the length that precedes its argument, largest length)
    pickle.SHORT_BINSTRING: (1, MAX_FILE_BYTES),
    pickle.SHORT_BINUNICODE: (1, MAX_FILE_BYTES),
    pickle.BINSTRING: (4, MAX_FILE_BYTES),
    pickle.BINUNICODE: (4, MAX_FILE_BYTES),
    pickle.LONG1: (1, _MAX_LONG_BYTES),
}
_TEXT_LIMIT = {  # opcode -> most characters of the line that is its argument
    pickle.INT: _MAX_NUMBER_TEXT,
    pickle.LONG: _MAX_NUMBER_TEXT,
    pickle.GET: _MAX_NUMBER_TEXT,
    pickle.PUT: _MAX_NUMBER_TEXT,
    pickle.FLOAT: _MAX_FLOAT_TEXT,
    pickle.STRING: MAX_FILE_BYTES,
    pickle.UNICODE: MAX_FILE_BYTES,
}
_STRINGS = {opcode[0]: _LENGTH_WIDTH[opcode][0] for opcode in _LENGTH_WIDTH if opcode != pickle.LONG1} | {
    pickle.STRING[0]: 0,
    pickle.UNICODE[0]: 0,
}  # opcode -> bytes between it and its text
_WIDTHS = [_FIXED_WIDTH.get(bytes([code]), -1) for code in range(256)]
_STOP = pickle.STOP[0]
_FRAME = pickle.FRAME[0]
_NAMES = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}


class UnsafePickleError(ValueError):
    """A pickle that is not plain data, or is broken; the message names the file, the opcode and its byte offset."""


class _NotPlainError(UnsafePickleError):
    """The same, with the mend in its message."""


class _Unpickler(pickle.Unpickler):
    """A second lock behind the opcode check: no global is ever looked up."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f'it asks for {module}.{name}')


def load_plain_pickle(path: str | os.PathLike[str]) -> Any:
    """Reads a pickle of lists, dicts, strings, numbers, booleans and None; nothing else is built and nothing is called.

    Byte strings of Python 2 are read as UTF-8, strictly: the published refs files load in the field's code under Python
    3's stricter default, ASCII, so no other encoding is guessed. References that the pickle shares stay shared: a small
    file can hold a structure that is huge, or endless, when walked path by path. Walk it by a known schema and bound
    the records you make.

    Args:
        path: the file, any protocol of Python 2 or 3, at most ``MAX_FILE_BYTES``.

    Raises:
        UnsafePickleError: an opcode outside the allow-list, a size or memo index that the file cannot back, a truncated
            or malformed file.
        FileNotFoundError: no such file.
    """
    size = os.path.getsize(path)
    if size > MAX_FILE_BYTES:
        raise UnsafePickleError(
            f'{path} has {size} bytes, more than the {MAX_FILE_BYTES} that are read as a pickle of annotations'
        )
    with open(path, 'rb') as file:
        data = file.read(size)
    other = describe_other_file(data)
    if other:
        raise UnsafePickleError(f'{path} {other}')
    try:
        frames = _check_opcodes(data)
        return _Unpickler(io.BytesIO(_without_frames(data, frames)), encoding='utf-8').load()
    except _NotPlainError as error:
        raise UnsafePickleError(f'{path}: {error}') from None
    except UnsafePickleError as error:
        raise UnsafePickleError(f'{path}: {error}; get the file anew from a source you trust') from None
    except (
        pickle.UnpicklingError,
        EOFError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
        MemoryError,
    ) as error:
        raise UnsafePickleError(
            f'{path} is not a well-formed pickle ({error}); get the file anew from a source you trust'
        ) from error


def _check_opcodes(data: bytes) -> list[int]:
    """Walks the opcodes and refuses the first one that is not plain data or that the file cannot back; returns where
    the FRAMEs are.
    """
    widths, position, count, frames = _WIDTHS, 0, 0, []
    while position < len(data):
        code = data[position]
        count += 1
        width = widths[code]
        if width < 0:
            if code == _FRAME:
                frames.append(position)
            position = _skip_argument(data, position, count)
        elif code != _STOP:
            position += 1 + width
        elif count > MAX_OPCODES:
            raise UnsafePickleError(f'the pickle has {count} opcodes, more than the {MAX_OPCODES} that are read')
        else:
            return frames
    raise UnsafePickleError(f'the pickle is cut off: it ends at byte {len(data)} without STOP')


def _without_frames(data: bytes, frames: list[int]) -> bytes:
    """The same opcodes without FRAME, a hint for buffering: at a frame that ends within an argument the unpickler
    would go on at another byte.
    """
    starts, ends = [0, *(position + 9 for position in frames)], [*frames, len(data)]
    return b''.join(data[start:end] for start, end in zip(starts, ends)) if frames else data


def _skip_argument(data: bytes, position: int, count: int) -> int:
    """The position after an opcode whose argument is of varying size or needs a check; ``count`` opcodes were seen,
    this one included.
    """
    opcode, start = data[position : position + 1], position + 1
    if opcode in _LENGTH_WIDTH:
        width, limit = _LENGTH_WIDTH[opcode]
        length, start = int.from_bytes(data[start : start + width], 'little'), start + width
        if opcode == pickle.LONG1 and _MAX_LONG_BYTES < length <= len(data) - start:
            raise _NotPlainError(f'{_name(data, position)} is a number beyond 64 bits; write a smaller one')
        _check_length(length, min(limit, len(data) - start), data, position)
        return start + length
    if opcode in _TEXT_LIMIT:
        end = data.find(b'\n', start)
        if opcode in (pickle.INT, pickle.LONG) and end - start > _MAX_NUMBER_TEXT:
            raise _NotPlainError(f'{_name(data, position)} is a number beyond 64 bits; write a smaller one')
        if end < 0 or end - start > _TEXT_LIMIT[opcode]:
            raise UnsafePickleError(f'{_name(data, position)} has no end of line or too long an argument: {_DAMAGED}')
        if opcode == pickle.PUT:
            _check_memo_index(_decimal(data, position, start, end), count, data, position)
        return end + 1
    if opcode == pickle.LONG_BINPUT:
        _check_memo_index(int.from_bytes(data[start : start + 4], 'little'), count, data, position)
        return start + 4
    if opcode == pickle.FRAME:  # its contents are opcodes and are walked like any others
        _check_length(int.from_bytes(data[start : start + 8], 'little'), len(data) - start - 8, data, position)
        return start + 8
    raise _NotPlainError(_describe_value(data, position))


def _describe_value(data: bytes, position: int) -> str:
    """What an opcode that is not allowed builds, which field it is near, and what to write instead."""
    strings = _strings_before(data, position)
    name = _NAMES.get(data[position])
    described = describe_opcode(name or '')
    if name in ('GLOBAL', 'INST'):
        described = describe_object('.'.join(map(_readable, data[position + 1 : position + 400].split(b'\n')[:2])))
    elif name == 'STACK_GLOBAL' and len(strings) > 1:
        *strings, module, attribute = strings
        described = describe_object(f'{module}.{attribute}')
    near = f' (near {strings[-1]!r:.40})' if strings else ''
    if described is None:
        return (
            f'{_name(data, position)}{near} is not among the opcodes of plain lists, dicts, strings and numbers; get '
            'the file anew from a source you trust'
        )
    what, plain = described
    return (
        f'{_name(data, position)}{near} makes {what}; lists, dicts, strings and numbers alone are read, and nothing in '
        f'the file was run. If it is yours, write {plain} before you pickle; else get it anew from a source you trust'
    )


def _strings_before(data: bytes, end: int) -> list[str]:
    """The last few strings of a pickle before a position up to which its opcodes are sound."""
    position, count, found = 0, 0, deque[tuple[int, int]](maxlen=3)
    while position < end:
        count += 1
        width = _WIDTHS[data[position]]
        following = position + 1 + width if width >= 0 else _skip_argument(data, position, count)
        if data[position] in _STRINGS:
            found.append((position + 1 + _STRINGS[data[position]], following))
        position = following
    return [_readable(data[start:following]).strip('\'"\n') for start, following in found]


def _readable(text: bytes) -> str:
    return text[:80].decode('utf-8', 'replace')


def _check_length(length: int, limit: int, data: bytes, position: int) -> None:
    if length > limit:
        raise UnsafePickleError(
            f'{_name(data, position)} announces {length} bytes where at most {max(limit, 0)} can follow: {_DAMAGED}'
        )


def _check_memo_index(index: int, count: int, data: bytes, position: int) -> None:
    """Picklers number the memo from 0 or 1 upwards, at most one entry an opcode; the unpickler allocates up to the
    largest index.
    """
    if index > count:
        raise UnsafePickleError(
            f'{_name(data, position)} names memo entry {index} after {count} opcodes, which asks for memory without '
            'need'
        )


def _decimal(data: bytes, position: int, start: int, end: int) -> int:
    text = data[start:end]
    if not text.isdigit():
        raise UnsafePickleError(f'{_name(data, position)} has no number for an argument')
    return int(text)


def _name(data: bytes, position: int) -> str:
    """'REDUCE at byte 17'."""
    code = data[position]
    return f'{_NAMES.get(code, f"unknown opcode 0x{code:02x}")} at byte {position}'
