"""Reads requests from a table, row after row: JSON lines, CSV, tab-separated values or Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cmmasksd.apis.bulk.answering import Failure, Request
from cmmasksd.datasets.custom.records import SENTENCES, Record, read_records, read_sentences
from cmmasksd.datasets.refer.errors import ReferError
from cmmasksd.datasets.refer.fields import is_text

COLUMNS = ('image', 'sentences')
ROWS_AT_ONCE = 1024  # of a Parquet file


def read_requests(table: str | Path, images: str | Path | None = None) -> Iterator[Request | Failure]:
    """Reads a table lazily.

    Its columns are ``image``, a file, and ``sentences`` (or ``sentence``): one, or a list of them, which a CSV cell
    holds as JSON.

    Args:
        table: ``.jsonl``, ``.csv``, ``.tsv`` or ``.parquet``.
        images: folder that pictures are relative to; None: the table's.

    Yields:
        Each row as a request, numbered by the line where it begins (rows of Parquet: from 1), or what is wrong with it.

    Raises:
        ReferError: no such table, of no known kind, or without a column that is needed.
        ImportError: a Parquet file, and pyarrow is not installed.
    """
    path = Path(table)
    folder = path.parent if images is None else Path(images)
    is_parquet = path.suffix.lower() in ('.parquet', '.pq')
    records = _read_parquet(path) if is_parquet else read_records(path, COLUMNS, errors='surrogateescape')
    return (_to_request(row, record, folder) for row, record in records)


def _to_request(row: int, record: dict[str, Any] | ReferError, folder: Path) -> Request | Failure:
    image = record.get('image') if isinstance(record, dict) else None
    image = image.strip() if isinstance(image, str) and is_text(image) else ''
    try:
        if isinstance(record, ReferError):
            raise record
        if not image:
            raise ReferError(f'its image is {record.get("image")!r:.40}, but must be the name of a file; fill it in')
        return Request(row, image, str(folder / image), read_sentences(record))
    except ReferError as error:
        return Failure(row, image, str(error))


def _read_parquet(path: Path) -> Iterator[Record]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(f"{path} needs pyarrow: pip install 'cmmasksd[pyarrow]', or write JSON lines.") from error
    if not path.is_file():
        raise ReferError(f'there is no table {path}; give the path of a Parquet file')
    try:
        file = parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise ReferError(f'{path} cannot be read as Parquet ({str(error):.120}); write it again') from error
    columns = [name for name in ('image', *SENTENCES) if name in file.schema_arrow.names]
    if columns[:1] != ['image'] or len(columns) < 2:
        raise ReferError(
            f'{path} must have the columns image and sentences, but has: {", ".join(file.schema_arrow.names)[:200]}'
        )
    row = 0
    for batch in file.iter_batches(ROWS_AT_ONCE, columns=columns[:2]):
        for record in batch.to_pylist():
            row += 1
            yield row, record
