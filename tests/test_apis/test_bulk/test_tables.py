"""Rows of a table as requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cmmasksd.apis.bulk import Failure, read_requests
from cmmasksd.datasets.refer.errors import ReferError


def read(path: Path) -> list[tuple[Any, ...]]:
    """Rows with their sentences or, where they are bad, the reason."""
    return [
        (each.row, each.image, each.reason if isinstance(each, Failure) else list(each.sentences))
        for each in read_requests(path)
    ]


@pytest.mark.parametrize(
    ('name', 'text', 'first'),
    [
        ('t.jsonl', '{"image": "a.jpg", "sentences": ["x", "y"]}\n', 1),
        ('t.csv', 'image,sentences\na.jpg,"[""x"", ""y""]"\n', 2),
        ('t.csv', '\ufeffIMAGE;Sentences\na.jpg;"[""x"", ""y""]"\n', 2),
        ('t.tsv', 'id\timage\tsentence\n7\ta.jpg\t["x", "y"]\n', 2),
    ],
)
def test_each_form_of_table(tmp_path: Path, name: str, text: str, first: int) -> None:
    (tmp_path / name).write_text(text)
    assert read(tmp_path / name) == [(first, 'a.jpg', ['x', 'y'])]


def test_one_sentence_a_row(tmp_path: Path) -> None:
    (tmp_path / 't.csv').write_text('image,sentence\na.jpg,x\na.jpg,[red] y\n')
    assert read(tmp_path / 't.csv') == [(2, 'a.jpg', ['x']), (3, 'a.jpg', ['[red] y'])]


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip('pyarrow')
    parquet = pytest.importorskip('pyarrow.parquet')
    rows = dict(image=['a.jpg', None, 'b.jpg'], sentences=[['x', 'y'], ['x'], []], other=[1, 2, 3])
    parquet.write_table(pyarrow.table(rows), tmp_path / 't.parquet')
    good, no_image, no_sentence = read(tmp_path / 't.parquet')
    assert good == (1, 'a.jpg', ['x', 'y'])
    assert 'its image is None' in no_image[2] and 'its sentence is empty' in no_sentence[2]
    parquet.write_table(pyarrow.table(dict(image=['a'])), tmp_path / 'none.parquet')
    with pytest.raises(ReferError, match='must have the columns image and sentences, but has: image'):
        read(tmp_path / 'none.parquet')
    (tmp_path / 'text.parquet').write_text('image')
    with pytest.raises(ReferError, match='cannot be read as Parquet'):
        read(tmp_path / 'text.parquet')


@pytest.mark.parametrize(
    ('line', 'reason'),
    [
        (b'{"image": "a.jpg", "sentences": ["x"', 'it is not valid JSON'),
        (b'[1, 2]', 'it is not a JSON object; write one {"image": ..., "sentences": ...} a line'),
        (b'{"image": "a.jpg"}', 'its sentence is empty'),
        (b'{"image": "a.jpg", "sentences": []}', 'its sentence is empty'),
        (b'{"image": "a.jpg", "sentences": ["x", " "]}', 'its sentence is empty'),
        (b'{"image": "a.jpg", "sentences": NaN}', 'its sentence is of type float'),
        (b'{"image": NaN, "sentences": "x"}', 'its image is nan, but must be the name of a file'),
        (b'{"image": "", "sentences": "x"}', "its image is '', but must be the name of a file"),
        (b'{"image": "\xff.jpg", "sentences": "x"}', 'must be the name of a file'),
        (b'{"image": "a.jpg", "sentences": "\xff"}', 'its sentence is not text'),
    ],
)
def test_a_bad_row_is_named_and_the_next_is_read(tmp_path: Path, line: bytes, reason: str) -> None:
    good = json.dumps(dict(image='b.jpg', sentences='y')).encode()
    (tmp_path / 't.jsonl').write_bytes(b'\n'.join([good, line, b'', good]))
    before, bad, after = read(tmp_path / 't.jsonl')
    assert (before[0], bad[0], after[0]) == (1, 2, 4)
    assert reason in bad[2]


def test_tables_without_rows(tmp_path: Path) -> None:
    (tmp_path / 't.jsonl').write_text('')
    (tmp_path / 't.csv').write_text('image,sentences\n')
    assert read(tmp_path / 't.jsonl') == read(tmp_path / 't.csv') == []


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('t.csv', '', 'has no column image and no column sentences'),
        (
            't.csv',
            'image,words\n',
            'has no column sentences; its first line must name the columns image, sentences, but',
        ),
        ('t.xlsx', '', 'is a spreadsheet'),
        ('t.txt', '', 'is of no known kind'),
        ('t.json', '[]', 'is one JSON array; write one object a line'),
    ],
)
def test_no_table_of_ours(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ReferError, match=message):
        read(tmp_path / name)


def test_rows_after_an_unclosed_quote_are_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / 't.csv').write_text('image,sentence\na.jpg,x\na.jpg,"x\n' + 'b.jpg,y\n' * 20000)
    with pytest.raises(ReferError, match='line 3: it is not CSV'):
        read(tmp_path / 't.csv')
