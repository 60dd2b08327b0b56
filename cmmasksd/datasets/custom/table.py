"""Reads a table of referring expressions: CSV, tab-separated values or JSON lines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmmasksd.datasets.custom.problems import Problems
from cmmasksd.datasets.custom.records import SENTENCES, parse_json, read_records, read_sentences
from cmmasksd.datasets.refer.errors import ReferError

REQUIRED = ('image', 'mask', 'sentence')
OPTIONAL = ('split', 'object_id')
_KINDS = {'image': 'the name of a file', 'mask': 'the name of a file, polygons or an RLE'}


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
    rows, names = [], dict[str, None]()
    try:
        for line, record in read_records(path, REQUIRED, OPTIONAL):
            with problems.of_line(line):
                if isinstance(record, ReferError):
                    raise record
                names.update(dict.fromkeys(record))
                rows.append(_make_row(line, record))
    except UnicodeDecodeError as error:
        raise ReferError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8 (in Excel: 'CSV UTF-8')"
        ) from error
    if not names:
        problems.raise_any()
        raise ReferError(f'{path} has no rows; write one for each expression')
    return rows, [name for name in names if name not in (*REQUIRED, *OPTIONAL, *SENTENCES)]


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
        read_sentences(record),
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
