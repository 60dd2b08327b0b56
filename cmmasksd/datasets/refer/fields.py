"""Checks of single fields of a record, which the readers of annotations share."""

from __future__ import annotations

from typing import Any

from cmmasksd.datasets.refer.errors import ReferError
from cmmasksd.datasets.refer.plain_values import describe_mismatch

MAX_IMAGE_PIXELS = 10**8
MAX_SENTENCE_CHARACTERS = 10_000
_MAX_NAME_CHARACTERS = 255
_INT64 = range(-(2**63), 2**63)  # ids end in int64 tensors


def read_field(record: Any, key: str, kind: type) -> Any:
    """``record[key]``, if the record is a dict and the value of exactly that type (a bool is no int) and, if a number,
    of 64 bits.
    """
    if not isinstance(record, dict):
        raise ReferError(f'it must be a dict, not {type(record).__name__}; write {{"{key}": ...}}')
    if key not in record:
        raise ReferError(f'{key!r} is missing; add it')
    value = record[key]
    if type(value) is not kind:
        raise ReferError(f'{key!r} {describe_mismatch(value, kind)}')
    if kind is int and value not in _INT64:
        raise ReferError(f'{key!r} is beyond 64 bits; number the records from 0 or 1 on')
    return value


def read_name(record: Any, key: str) -> str:
    """A string that can name something: 1 to 255 characters of text."""
    name = read_field(record, key, str)
    if not name.strip() or len(name) > _MAX_NAME_CHARACTERS or not is_text(name):
        raise ReferError(f'{key!r} must be text of 1 to {_MAX_NAME_CHARACTERS} characters; write a shorter name')
    return name


def is_text(text: str) -> bool:
    """False for halves of surrogate pairs, which JSON and pickles can hold but no file name or tokenizer can take."""
    return text.isascii() or not any('\ud800' <= character <= '\udfff' for character in text)


def is_blank(text: str) -> bool:
    """Whether there is nothing to read in it."""
    return not text or text.isspace()


def check_file_name(name: str) -> None:
    """Raises ReferError unless it is a name without folders."""
    if name in ('.', '..') or any(character in name for character in '/\\\0'):
        raise ReferError(
            f'file_name {name!r} must be a plain file name, without folders: the image folder is found by itself'
        )


def check_image_size(height: Any, width: Any) -> None:
    """Raises ReferError unless both are whole numbers that make a picture of 1 to ``MAX_IMAGE_PIXELS`` pixels."""
    if type(height) is not int or type(width) is not int:
        raise ReferError('height and width must be whole numbers; write int(x)')
    if height < 1 or width < 1 or height * width > MAX_IMAGE_PIXELS:
        raise ReferError(
            f'there is no picture of {height} x {width} pixels (height x width): 1 to {MAX_IMAGE_PIXELS} pixels are '
            'read'
        )
