"""Answers on disk, one JSON line a row: appended whole, found again after a kill, and put in the table's order."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from cmmasksd.strict_json import to_json

BEGINNING = b'{"row": '  # of each line


class Journal:
    """A file to which lines are appended. A kill leaves whole lines and at most one that is torn, the last.

    Args:
        path: made with the first line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def append(self, record: dict[str, Any]) -> None:
        """Writes a record as one line.

        Raises:
            OSError: the disk is full, or the file cannot be written.
        """
        if self._file is None:
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        line = memoryview(to_json(record).encode() + b'\n')
        try:
            while line:
                line = line[os.write(self._file, line) :]
        except OSError as error:
            raise OSError(error.errno, f'{error.strerror}; make room and start again', str(self.path)) from error

    def close(self) -> None:
        if self._file is not None:
            os.fsync(self._file)
            os.close(self._file)
            self._file = None


class Rows:
    """A set of row numbers, a byte each."""

    def __init__(self) -> None:
        self._seen = bytearray()
        self._count = 0

    def add(self, row: int) -> bool:
        """Adds a row; whether it is new."""
        if row >= len(self._seen):
            self._seen.extend(bytes(row + 1 - len(self._seen) + 4096))
        new = not self._seen[row]
        self._seen[row] = 1
        self._count += new
        return new

    def __contains__(self, row: int) -> bool:
        return row < len(self._seen) and bool(self._seen[row])

    def __len__(self) -> int:
        return self._count


def cut_torn_line(path: Path) -> None:
    """Cuts off the last line where it was not written to its end.

    Raises:
        ValueError: the first line or what would be cut off is none of ours.
        OSError: the file cannot be written.
    """
    with path.open('r+b') as file:
        torn, end = _find_tail(file)
        for begin in {0, torn}:
            file.seek(begin)
            _check_beginning(file.read(len(BEGINNING)), path)
        if torn < end:
            file.truncate(torn)


def _find_tail(file: BinaryIO) -> tuple[int, int]:
    """Where the last line begins that has no end, and where the file ends."""
    end = torn = file.seek(0, os.SEEK_END)
    while torn > 0:
        begin = max(0, torn - 2**16)
        file.seek(begin)
        found = file.read(torn - begin).rfind(b'\n')
        if found >= 0:
            return begin + found + 1, end
        torn = begin
    return 0, end


def _check_beginning(begun: bytes, path: Path) -> None:
    if not BEGINNING.startswith(begun):
        raise ValueError(
            f'{path} is there and was not written here: move it away, or choose another folder; nothing was changed'
        )


def find_rows(path: Path) -> tuple[array[int], array[int]]:
    """The rows that a file's lines answer, and where each line begins.

    Raises:
        ValueError: a line is not one of ours.
    """
    rows, begins, begin = array('q'), array('q'), 0
    with path.open('rb') as file:
        for number, line in enumerate(file, start=1):
            rows.append(_row_of(line, path, number))
            begins.append(begin)
            begin += len(line)
    return rows, begins


def merge(files: Sequence[Path], target: Path) -> None:
    """Makes one file of several, in order of rows, each row once; the others are removed at the end, so that a kill
    loses nothing.

    Args:
        files: those that are there count; of a row that two hold, the first one's line is kept.
        target: may be one of them.
    """
    files = [path for path in files if path.is_file()]
    found = [find_rows(path) for path in files]
    rows = np.concatenate([np.asarray(own, np.int64) for own, _ in found] or [np.empty(0, np.int64)])
    if files == [target] and (np.diff(rows) > 0).all():
        return
    source = np.repeat(np.arange(len(files)), [len(own) for own, _ in found])
    begins = np.concatenate([np.asarray(own, np.int64) for _, own in found] or [np.empty(0, np.int64)])
    _, kept = np.unique(rows, return_index=True)  # sorted, and of equal ones the first
    draft = target.with_name(f'{target.name}.merging')
    _copy_lines(files, zip(source[kept], begins[kept]), draft)
    draft.replace(target)
    for path in files:
        if path != target:
            path.unlink()


def _copy_lines(files: Sequence[Path], places: Iterable[tuple[int, int]], target: Path) -> None:
    with ExitStack() as stack:
        sources = [stack.enter_context(path.open('rb')) for path in files]
        file = stack.enter_context(target.open('wb'))
        for source, begin in places:
            sources[source].seek(begin)
            file.write(sources[source].readline())
        file.flush()
        os.fsync(file.fileno())


def _row_of(line: bytes, path: Path, number: int) -> int:
    try:
        row = json.loads(line)['row']
    except (ValueError, TypeError, KeyError):
        row = None
    if not isinstance(row, int) or row < 0:
        raise ValueError(
            f'{path}, line {number} is no answer to a row of a table: delete the file to begin anew, or choose another '
            'folder'
        )
    return row
