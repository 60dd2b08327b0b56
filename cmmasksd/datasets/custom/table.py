"""Reads a table of referring expressions: CSV, tab-separated values or JSON lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from cmmasksd.datasets.custom.problems import Problems
from cmmasksd.datasets.refer.errors import ReferError
from cmmasksd.datasets.refer.fields import MAX_SENTENCE_CHARACTERS, is_blank, is_text

REQUIRED = ('image', 'mask', 'sentence')
OPTIONAL = ('split', 'object_id')
_KINDS = {'image': 'the name of a file', 'mask': 'the name of a file, polygons or an RLE'}
_DELIMITERS = {'.csv': ',', '.tsv': '\t'}
_OTHER_DELIMITERS = (';', '\t', ',')  # of programs set to a language whose decimals have a comma, and of copied cells
_SPREADSHEETS = ('.xlsx', '.xls', '.ods')
_UTF_16 = (b'\xff\xfe', b'\xfe\xff')
_JSON_LINES = ('.jsonl', '.ndjson', '.json')


@dataclass(frozen=True)
class Row:
    """One row: ``mask`` is a file name, or what JSON gives for polygons or an RLE; ``split`` and ``object_id`` are ''
    where not given.
    """

    line: int
    image: str
    mask: str | list | dict
    sentences: tuple[str, ...]
    split: str
    object_id: str


def read_table(path: Path, problems: Problems) -> tuple[list[Row], list[str]]:
    """The rows that are well formed, and the names of columns that nothing reads; what is wrong with others is added to
    ``problems``.

    Raises:
        ReferError: no such file, of no known kind, not UTF-8, without rows or without a column that is needed.
    """
    if not path.is_file():
        raise ReferError(f'there is no table {path}; give the path of a CSV or JSON-lines file')
    if path.suffix.lower() in _SPREADSHEETS:
        raise ReferError(f"{path} is a spreadsheet; save it as 'CSV UTF-8' and give that file")
    if path.suffix.lower() not in (*_DELIMITERS, *_JSON_LINES):
        raise ReferError(
            f'{path} is of no known kind; name it {", ".join((*_DELIMITERS, *_JSON_LINES))} after what is in it'
        )
    rows, names = [], dict[str, None]()
    try:
        with path.open(encoding=_find_encoding(path), newline='') as file:
            for line, record in _read_records(file, path, problems):
                names.update(dict.fromkeys(record))
                with problems.of_line(line):
                    rows.append(_make_row(line, record))
    except UnicodeDecodeError as error:
        raise ReferError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8 (in Excel: 'CSV UTF-8')"
        ) from error
    if not names:
        problems.raise_any()
        raise ReferError(f'{path} has no rows; write one for each expression')
    return rows, [name for name in names if name not in (*REQUIRED, *OPTIONAL, 'sentences')]


def _find_encoding(path: Path) -> str:
    """UTF-8, with Windows's mark in front or without, or UTF-16 where its mark is there."""
    with path.open('rb') as file:
        return 'utf-16' if file.read(2) in _UTF_16 else 'utf-8-sig'


def _read_records(file: TextIO, path: Path, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    suffix = path.suffix.lower()
    return (
        _read_cells(file, path, _DELIMITERS[suffix], problems)
        if suffix in _DELIMITERS
        else _read_objects(file, path, problems)
    )


def _read_cells(file: TextIO, path: Path, delimiter: str, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    first = file.readline()
    reader = csv.reader(file, delimiter=delimiter)
    try:
        delimiter, names = _read_names(first, delimiter)
        reader = csv.reader(chain([first], file), delimiter=delimiter)
        next(reader, None)
        missing = [name for name in REQUIRED if name not in names]
        if missing or len(set(names)) < len(names):
            wrong = f'has no column {" and no column ".join(missing)}' if missing else 'names a column twice'
            raise ReferError(
                f'{path} {wrong}; its first line must name the columns {", ".join(REQUIRED)} and, if wanted, '
                f'{", ".join(OPTIONAL)}, but is: {", ".join(names)[:200]}'
            )
        line = reader.line_num + 1
        for cells in reader:
            with problems.of_line(line):
                if cells and len(cells) != len(names):  # no cells: an empty line
                    raise ReferError(
                        f'it has {len(cells)} cells, but the first line {len(names)}; '
                        f'put cells with {delimiter!r} in them in double quotes'
                    )
                if cells:
                    yield line, dict(zip(names, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        with problems.of_line(reader.line_num):
            raise ReferError(
                f'it is not CSV ({error}); a long mask is better kept in a PNG, or the table in JSON lines'
            ) from error


def _read_names(first_line: str, delimiter: str) -> tuple[str, list[str]]:
    """The delimiter, which is another than the usual one where that alone gives the columns that are needed, and the
    names of the columns; those that are read in lower case.
    """
    known = {name.lower(): name for name in (*REQUIRED, *OPTIONAL)}
    names = []
    for each in dict.fromkeys((delimiter, *_OTHER_DELIMITERS)):
        cells = [cell.strip() for cell in next(csv.reader([first_line], delimiter=each), [])]
        given = [known.get(cell.lower(), cell) for cell in cells]
        if each == delimiter:
            names = given
        if set(REQUIRED) <= set(given):
            return each, given
    return delimiter, names


def _read_objects(file: TextIO, path: Path, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, text in enumerate(file, start=1):
        if line == 1 and text.lstrip().startswith('['):
            raise ReferError(
                f'{path} is one JSON array; write one object a line (pandas: '
                "table.to_json(path, orient='records', lines=True))"
            )
        with problems.of_line(line):
            if text.isspace():
                continue
            record = parse_json(text, 'it')
            if not isinstance(record, dict):
                raise ReferError(
                    'it is not a JSON object; write one {"image": ..., "mask": ..., "sentence": ...} a line'
                )
            yield line, record


def parse_json(text: str, what: str) -> Any:
    """The value of a JSON text; raises ReferError."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ReferError(f'{what} is not valid JSON ({error}); write it by json.dumps, or correct it') from None


def _make_row(line: int, record: dict[str, Any]) -> Row:
    image, mask = _filled(record, 'image', str), _filled(record, 'mask', (str, list, dict))
    if isinstance(mask, str) and mask[0] in '[{':
        mask = parse_json(mask, 'its mask')
    split, object_id = (record.get(name) for name in OPTIONAL)
    if (
        not isinstance(split, (str, type(None)))
        or isinstance(object_id, bool)
        or not isinstance(object_id, (str, int, type(None)))
    ):
        raise ReferError(
            f'its split must be text and its object_id text or a whole number, not {split!r:.30} and '
            f'{object_id!r:.30}; write str(x)'
        )
    return Row(
        line,
        image,
        mask,
        _read_sentences(record),
        (split or '').strip(),
        '' if object_id is None else str(object_id).strip(),
    )


def _filled(record: dict[str, Any], name: str, kind: type | tuple[type, ...]) -> Any:
    value = record.get(name)
    value = value.strip() if isinstance(value, str) else value
    if not value:
        raise ReferError(f'it has no {name}; fill it in')
    if not isinstance(value, kind):
        raise ReferError(
            f'its {name} is {value!r:.40} ({type(value).__name__}), but must be {_KINDS[name]}; correct it'
        )
    return value


def _read_sentences(record: dict[str, Any]) -> tuple[str, ...]:
    given = record.get('sentence', record.get('sentences'))
    sentences = tuple(given) if isinstance(given, list) else (given,)
    for sentence in sentences or (None,):
        if not isinstance(sentence, (str, type(None))):
            raise ReferError(f'its sentence is of type {type(sentence).__name__}, but must be text; write one string')
        if sentence is None or is_blank(sentence):
            raise ReferError('its sentence is empty; write what tells the object from the others, or leave the row out')
        if len(sentence) > MAX_SENTENCE_CHARACTERS or not is_text(sentence):
            raise ReferError(f'its sentence is not text of at most {MAX_SENTENCE_CHARACTERS} characters; write it anew')
    return sentences
