"""The converted form of a set's annotations: ``refs(<split_by>).safetensors`` beside REFER's own files.

It holds all that the reader gives after its checks, as the columns of ``columns.py`` behind a JSON header with a
version, a digest of the columns and the SHA-256 of both source files. Nothing in it can run. Why safetensors and
neither JSON nor Parquet: JSON of this size takes seconds to parse and Parquet needs a large package; safetensors is
here for the weights already, its reader bounds every size by the file's, and it gives arrays as they lie.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from cmmasksd.datasets.refer.converted.columns import Columns, from_columns, to_columns
from cmmasksd.datasets.refer.errors import ReferError, ReferWarning
from cmmasksd.datasets.refer.records import Annotations

VERSION = 1  # of the columns and of what they mean; a file of another version is not used
MAX_FILE_BYTES = 2**30  # some 25 times RefCOCO
_MAX_HEADER_BYTES = 2**16
_CHUNK = 2**20


def converted_path(folder: Path, split_by: str) -> Path:
    """Where the converted form of ``<folder>/refs(<split_by>).p`` lies."""
    return folder / f'refs({split_by}).safetensors'


def source_paths(folder: Path, split_by: str) -> tuple[Path, Path]:
    """REFER's own two files: refs and instances."""
    return folder / f'refs({split_by}).p', folder / 'instances.json'


def describe_sources(paths: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of files, by their names."""
    return {path.name: {'bytes': path.stat().st_size, 'sha256': _hash_file(path)} for path in paths}


def read_converted(folder: Path, split_by: str, split: str | None = None) -> Annotations | None:
    """The converted annotations of a set, if they are there and made from the very source files that lie beside them.

    Sizes are compared first and then, always, the SHA-256 of the content, which takes a fraction of a second for
    RefCOCO: a time stamp would be quicker and can lie. A source file that is absent is not asked for, so the form can
    be shipped alone.

    Args:
        folder: ``<root>/<dataset>``.
        split_by: the part of ``refs(<split_by>).p`` in brackets.
        split: the refs of this split only.

    Returns:
        None where there is no converted form, or none that can be used.

    Raises:
        ReferError: it cannot be used and a source file is missing.

    Warns:
        ReferWarning: it is not used, since it is damaged or made from other files.
    """
    path, sources = (
        converted_path(folder, split_by),
        [source for source in source_paths(folder, split_by) if source.is_file()],
    )
    if not path.is_file():
        return None
    try:
        header, columns = _read_file(path)
        _check_made_from(header, folder.name, sources)
        return from_columns(columns, split)
    except ReferError as error:
        if len(sources) < 2:
            raise ReferError(
                f'{path}: {error}, and the files it was made from are not all there; get them and '
                f'{_mend(folder, split_by)}'
            ) from None
        ignored = (
            f'{path}: {error}; it is ignored and its slower source is read. To use it again, {_mend(folder, split_by)}'
        )
        warnings.warn(ignored, ReferWarning, stacklevel=3)
        return None


def write_converted(folder: Path, split_by: str, annotations: Annotations, sources: dict[str, dict[str, Any]]) -> Path:
    """Writes the converted form of a whole set, whole or not at all.

    Args:
        folder: ``<root>/<dataset>``.
        split_by: the part of ``refs(<split_by>).p`` in brackets.
        annotations: what the reader gave for the source.
        sources: ``describe_sources`` of the two files, taken before they were read, so that a change in between is
            noticed later.

    Returns:
        The file's path.

    Raises:
        ReferError: the file would be larger than ``MAX_FILE_BYTES``.
    """
    columns, path = to_columns(annotations), converted_path(folder, split_by)
    header = {
        'format': 'annotations of cmmasksd',
        'version': VERSION,
        'dataset': folder.name,
        'sources': sources,
        'digest': _digest(columns),
    }
    content = save({**columns, 'header': np.frombuffer(json.dumps(header).encode(), np.uint8)})
    if len(content) > MAX_FILE_BYTES:
        raise ReferError(
            f'{path} would have {len(content)} bytes, more than the {MAX_FILE_BYTES} that are read; divide the set'
        )
    draft = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def _mend(folder: Path, split_by: str) -> str:
    arguments = [str(folder.parent), '--dataset', folder.name, '--split-by', split_by]
    return f'run: {shlex.join(["python", "tools/dataset_converters/convert_refer.py", *arguments])}'


def _read_file(path: Path) -> tuple[dict[str, Any], Columns]:
    """The header, of our format and version, and the columns, which have the digest that it names."""
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ReferError(f'it has more than the {MAX_FILE_BYTES} bytes that are read')
    try:
        columns = load(path.read_bytes())
        header = columns.pop('header')
        content = json.loads(header.tobytes()) if header.nbytes <= _MAX_HEADER_BYTES else None
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError, MemoryError, OSError) as error:
        raise ReferError(f'it cannot be read ({error})') from error
    if not isinstance(content, dict) or content.get('version') != VERSION:
        raise ReferError(f'it is not of the form of this release (version {VERSION})')
    if content.get('digest') != _digest(columns):
        raise ReferError('it is damaged: its content has another digest than its header says')
    return content, columns


def _check_made_from(header: dict[str, Any], dataset: str, sources: Sequence[Path]) -> None:
    if header.get('dataset') != dataset:
        raise ReferError(f'it was made for {str(header.get("dataset"))[:100]!r} and not for {dataset!r}')
    described = header.get('sources')
    for source in sources:
        expected = described.get(source.name) if isinstance(described, dict) else None
        if (
            not isinstance(expected, dict)
            or expected.get('bytes') != source.stat().st_size
            or expected.get('sha256') != _hash_file(source)
        ):
            raise ReferError(f'it was made from another {source.name} than the one beside it')


def _digest(columns: Columns) -> str:
    digest = hashlib.sha256()
    for name in sorted(columns):
        digest.update(f'{name} {columns[name].nbytes}\n'.encode())
        digest.update(columns[name].tobytes())
    return digest.hexdigest()


def _hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
