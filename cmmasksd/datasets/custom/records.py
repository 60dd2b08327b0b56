"""The records of a table, one after another: CSV, tab-separated values or JSON lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from cmmasksd.datasets.refer.errors import ReferError
from cmmasksd.datasets.refer.fields import MAX_SENTENCE_CHARACTERS, is_blank, is_text

SENTENCES = ('sentence', 'sentences')  # the column's name, as either is written
Record = tuple[int, dict[str, Any] | ReferError]  # the line where it begins, and what it holds or what is wrong with it

_DELIMITERS = {'.csv': ',', '.tsv': '\t'}
_OTHER_DELIMITERS = (';', '\t', ',')  # of programs set to a language whose decimals have a comma, and of copied cells
_SPREADSHEETS = ('.xlsx', '.xls', '.ods')
_UTF_16 = (b'\xff\xfe', b'\xfe\xff')
_JSON_LINES = ('.jsonl', '.ndjson', '.json')


def read_records(
    path: Path, required: Sequence[str], optional: Sequence[str] = (), errors: str = 'strict'
) -> Iterator[Record]:
    """Reads a table lazily.

    Args:
        path: the table; its suffix says what it is.
        required: columns that it must have, in whatever case; of ``SENTENCES`` either.
        optional: further columns that are read.
        errors: what is done with bytes that are no text, as for ``open``.

    Yields:
        Line and record of each row that is not empty, or line and error.

    Raises:
        ReferError: no such file, of no known kind, without a column that is needed; or no CSV from some line on.
        UnicodeDecodeError: not UTF-8, where ``errors`` is strict.
    """
    _check_kind(path)
    suffix = path.suffix.lower()
    with path.open(encoding=_find_encoding(path), newline='', errors=errors) as file:
        if suffix in _DELIMITERS:
            yield from _read_cells(file, path, _DELIMITERS[suffix], required, optional)
        else:
            yield from _read_objects(file, path, required)


def parse_json(text: str, what: str) -> Any:
    """The value of a JSON text; raises ReferError."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ReferError(f'{what} is not valid JSON ({error}); write it by json.dumps, or correct it') from None


def read_sentences(record: dict[str, Any]) -> tuple[str, ...]:
    """The sentences of a record: one text, a list of them, or a cell that holds such a list as JSON.

    Raises:
        ReferError: there is none, or one is empty or no text.
    """
    given = record.get(SENTENCES[0], record.get(SENTENCES[1]))
    if isinstance(given, str) and (text := given.strip()).startswith('[') and text.endswith(']'):
        given = parse_json(text, 'its list of sentences')
    sentences = tuple(given) if isinstance(given, list) else (given,)
    for sentence in sentences or (None,):
        if not isinstance(sentence, (str, type(None))):
            raise ReferError(f'its sentence is of type {type(sentence).__name__}, but must be text; write one string')
        if sentence is None or is_blank(sentence):
            raise ReferError('its sentence is empty; write what tells the object from the others, or leave the row out')
        if len(sentence) > MAX_SENTENCE_CHARACTERS or not is_text(sentence):
            raise ReferError(f'its sentence is not text of at most {MAX_SENTENCE_CHARACTERS} characters; write it anew')
    return sentences


def _check_kind(path: Path) -> None:
    if not path.is_file():
        raise ReferError(f'there is no table {path}; give the path of a CSV or JSON-lines file')
    if path.suffix.lower() in _SPREADSHEETS:
        raise ReferError(f"{path} is a spreadsheet; save it as 'CSV UTF-8' and give that file")
    if path.suffix.lower() not in (*_DELIMITERS, *_JSON_LINES):
        raise ReferError(
            f'{path} is of no known kind; name it {", ".join((*_DELIMITERS, *_JSON_LINES))} after what is in it'
        )


def _find_encoding(path: Path) -> str:
    """UTF-8, with Windows's mark in front or without, or UTF-16 where its mark is there."""
    with path.open('rb') as file:
        return 'utf-16' if file.read(2) in _UTF_16 else 'utf-8-sig'


def _read_cells(
    file: TextIO, path: Path, delimiter: str, required: Sequence[str], optional: Sequence[str]
) -> Iterator[Record]:
    first = file.readline()
    line = 1
    try:
        delimiter, names = _read_names(first, delimiter, (*required, *optional), required)
        _check_names(path, names, required, optional)
        reader = csv.reader(chain([first], file), delimiter=delimiter)
        next(reader, None)
        line = reader.line_num + 1
        for cells in reader:
            if cells and len(cells) != len(names):  # no cells: an empty line
                yield (
                    line,
                    ReferError(
                        f'it has {len(cells)} cells, but the first line {len(names)}; '
                        f'put cells with {delimiter!r} in them in double quotes'
                    ),
                )
            elif cells:
                yield line, dict(zip(names, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise ReferError(
            f'{path}, line {line}: it is not CSV ({error}); a long mask is better kept in a PNG, or the table in JSON '
            'lines'
        ) from error


def _check_names(path: Path, names: list[str], required: Sequence[str], optional: Sequence[str]) -> None:
    missing = _missing(names, required)
    if missing or len(set(names)) < len(names):
        wrong = f'has no column {" and no column ".join(missing)}' if missing else 'names a column twice'
        wanted = f' and, if wanted, {", ".join(optional)}' if optional else ''
        raise ReferError(
            f'{path} {wrong}; its first line must name the columns {", ".join(required)}{wanted}, but is: '
            f'{", ".join(names)[:200]}'
        )


def _missing(names: Sequence[str], required: Sequence[str]) -> list[str]:
    return [name for name in required if not set(names) & set(SENTENCES if name in SENTENCES else (name,))]


def _read_names(
    first_line: str, delimiter: str, columns: Sequence[str], required: Sequence[str]
) -> tuple[str, list[str]]:
    """The delimiter, which is another than the usual one where that alone gives the columns that are needed, and the
    names of the columns; those that are read in lower case.
    """
    known = {name.lower(): name for name in (*columns, *SENTENCES)}
    names = []
    for each in dict.fromkeys((delimiter, *_OTHER_DELIMITERS)):
        cells = [cell.strip() for cell in next(csv.reader([first_line], delimiter=each), [])]
        given = [known.get(cell.lower(), cell) for cell in cells]
        if each == delimiter:
            names = given
        if not _missing(given, required):
            return each, given
    return delimiter, names


def _read_objects(file: TextIO, path: Path, required: Sequence[str]) -> Iterator[Record]:
    for line, text in enumerate(file, start=1):
        if line == 1 and text.lstrip().startswith('['):
            raise ReferError(
                f'{path} is one JSON array; write one object a line (pandas: '
                "table.to_json(path, orient='records', lines=True))"
            )
        if not text.isspace():
            yield line, _read_object(text, required)


def _read_object(text: str, required: Sequence[str]) -> dict[str, Any] | ReferError:
    try:
        record = parse_json(text, 'it')
    except ReferError as error:
        return error
    if not isinstance(record, dict):
        example = ', '.join(f'"{name}": ...' for name in required)
        return ReferError(f'it is not a JSON object; write one {{{example}}} a line')
    return record
