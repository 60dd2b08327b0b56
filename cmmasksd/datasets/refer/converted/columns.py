"""Annotations as flat columns and back: arrays of numbers and of UTF-8 text, which load many times faster than as many
small records.

A table (``image``, ``annotation``, ``ref``, ``sentence`` ...) is a set of columns of equal length. What differs in
length from row to row is kept end to end in a column of values, with a column ``<name>.ends`` that says where the
values of each row end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmmasksd.datasets.refer.errors import ReferError
from cmmasksd.datasets.refer.fields import (
    MAX_SENTENCE_CHARACTERS,
    check_file_name,
    check_image_size,
    is_blank,
    read_name,
)
from cmmasksd.datasets.refer.records import Annotations, Ref, Sentence
from cmmasksd.datasets.refer.segmentation import Segmentation

Columns = dict[str, NDArray[Any]]

_TABLES = {  # table -> its columns of whole numbers
    'split': ('name.ends',),
    'image': ('id', 'height', 'width', 'name.ends'),
    'annotation': ('id', 'image', 'dropped', 'kind', 'parts.ends', 'runs.ends', 'code.ends'),
    'part': ('points.ends',),
    'ref': ('id', 'annotation', 'category', 'split', 'sentences.ends'),
    'sentence': ('id', 'sent.ends', 'raw.ends'),
}
_VALUES = {  # column of values -> its type
    'split.name': np.uint8,
    'image.name': np.uint8,
    'annotation.runs': np.int64,
    'annotation.code': np.uint8,
    'part.points': np.float64,
    'sentence.sent': np.uint8,
    'sentence.raw': np.uint8,
}
_TYPES: dict[str, Any] = {f'{table}.{name}': np.int64 for table, names in _TABLES.items() for name in names} | _VALUES
# column of row numbers -> the table they point into
_KEYS = {'annotation.image': 'image', 'ref.annotation': 'annotation', 'ref.split': 'split'}
_POLYGONS, _RUNS, _TEXT, _BYTES = range(4)  # annotation.kind: polygons, or RLE with counts as a list, a string or bytes


def to_columns(annotations: Annotations) -> Columns:
    """The columns of a whole set; ``from_columns`` gives back equal annotations."""
    image_rows = {image_id: row for row, image_id in enumerate(annotations.pictures)}
    split_rows = {split: row for row, split in enumerate(annotations.counts)}
    owners = {ref.ann_id: ref for ref in annotations.refs}
    annotation_rows = {ann_id: row for row, ann_id in enumerate(owners)}
    pictures, refs = annotations.pictures.values(), annotations.refs
    sentences = [sentence for ref in refs for sentence in ref.sentences]
    numbers: dict[str, Iterable[int]] = {
        'image.id': annotations.pictures,
        'image.height': (height for _, height, _ in pictures),
        'image.width': (width for _, _, width in pictures),
        'annotation.id': owners,
        'annotation.image': (image_rows[ref.image_id] for ref in owners.values()),
        'annotation.dropped': (annotations.dropped.get(ann_id, 0) for ann_id in owners),
        'ref.id': (ref.ref_id for ref in refs),
        'ref.annotation': (annotation_rows[ref.ann_id] for ref in refs),
        'ref.category': (ref.category_id for ref in refs),
        'ref.split': (split_rows[ref.split] for ref in refs),
        'ref.sentences.ends': np.cumsum([len(ref.sentences) for ref in refs]),
        'sentence.id': (sentence.sent_id for sentence in sentences),
    }
    return {
        **{name: np.fromiter(values, np.int64) for name, values in numbers.items()},
        **_join_texts('split.name', split_rows),
        **_join_texts('image.name', [name for name, _, _ in pictures]),
        **_join_texts('sentence.sent', [sentence.sent for sentence in sentences]),
        **_join_texts('sentence.raw', [sentence.raw for sentence in sentences]),
        **_join_segmentations([ref.segmentation for ref in owners.values()]),
    }


def _join(name: str, rows: Sequence[Sequence[Any]]) -> Columns:
    ends = np.cumsum([len(row) for row in rows], dtype=np.int64)
    return {name: np.fromiter(chain.from_iterable(rows), _TYPES[name]), f'{name}.ends': ends}


def _join_texts(name: str, texts: Iterable[str]) -> Columns:
    return _join(name, [text.encode() for text in texts])


def _join_segmentations(segmentations: list[Segmentation]) -> Columns:
    polygons = [segmentation if isinstance(segmentation, list) else [] for segmentation in segmentations]
    counts = [() if isinstance(segmentation, list) else segmentation['counts'] for segmentation in segmentations]
    kinds: dict[type, int] = {tuple: _POLYGONS, list: _RUNS, str: _TEXT, bytes: _BYTES}
    codes = [code.encode() if isinstance(code, str) else code for code in counts]
    return {
        'annotation.kind': np.array([kinds[type(code)] for code in counts], np.int64),
        'annotation.parts.ends': np.cumsum([len(parts) for parts in polygons], dtype=np.int64),
        **_join('part.points', [part for parts in polygons for part in parts]),
        **_join('annotation.runs', [code if isinstance(code, list) else () for code in codes]),
        **_join('annotation.code', [code if isinstance(code, bytes) else b'' for code in codes]),
    }


def from_columns(columns: Columns, split: str | None = None) -> Annotations:
    """The annotations that columns hold, whoever made these: nothing is trusted, and memory is bounded by a multiple of
    their size.

    Segmentations are not looked into here: ``decode_mask`` checks each again when it is decoded.

    Args:
        columns: of a whole set.
        split: the refs of this split only; of none if there is no such split.

    Raises:
        ReferError: columns that do not fit together, or records that no set may hold.
    """
    _check_columns(columns)
    pictures = _read_pictures(columns)
    names = _texts(columns, 'split.name')
    splits = [read_name({'split': names(row)}, 'split') for row in range(len(columns['split.name.ends']))]
    make_ref = _ref_maker(columns, pictures, splits)
    wanted = [row for row, name in enumerate(splits) if split in (None, name)]
    rows = np.flatnonzero(np.isin(columns['ref.split'], wanted)).tolist()
    lost = np.flatnonzero(columns['annotation.dropped'])
    dropped = dict(zip(columns['annotation.id'][lost].tolist(), columns['annotation.dropped'][lost].tolist()))
    return Annotations(tuple(map(make_ref, rows)), pictures, dropped, _count(columns, splits))


def _check_columns(columns: Columns) -> None:
    """Every column is there, of its type and of its table's length; ends rise to the end of what they divide; row
    numbers point to rows.
    """
    if columns.keys() != _TYPES.keys():
        raise ReferError(
            'it has not the expected columns (too many or too few: '
            f'{", ".join(sorted(columns.keys() ^ _TYPES.keys())[:5])})'
        )
    for name, column in columns.items():
        if column.ndim != 1 or column.dtype != _TYPES[name]:
            raise ReferError(f'it has a column {name} of another type')
    for table, names in _TABLES.items():
        if len({len(columns[f'{table}.{name}']) for name in names}) > 1:
            raise ReferError(f'it has columns of unequal lengths in its table {table}')
    lengths = {name: len(columns[name]) for name in _VALUES}
    lengths |= {'annotation.parts': len(columns['part.points.ends']), 'ref.sentences': len(columns['sentence.id'])}
    for name, length in lengths.items():
        bounds = np.concatenate(([0], columns[f'{name}.ends']))
        if (bounds[1:] < bounds[:-1]).any() or bounds[-1] != length:
            raise ReferError(f'it has a column {name}.ends that does not divide its values')
    for name, table in _KEYS.items():
        rows = columns[name]
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(columns[f'{table}.{_TABLES[table][0]}']):
            raise ReferError(f'it has a column {name} that points beyond its table {table}')
    _check_values(columns)


def _check_values(columns: Columns) -> None:
    for name in ('image.id', 'annotation.id', 'ref.id'):
        if len(np.unique(columns[name])) != len(columns[name]):
            raise ReferError(f'it has the same number twice in its column {name}')
    if not len(columns['ref.id']) or (np.diff(columns['ref.sentences.ends'], prepend=0) < 1).any():
        raise ReferError('it has no refs, or refs without a sentence')
    kinds = columns['annotation.kind']
    if (kinds < _POLYGONS).any() or (kinds > _BYTES).any():
        raise ReferError('it has annotations of an unknown kind')


def _read_pictures(columns: Columns) -> dict[int, tuple[str, int, int]]:
    names, pictures = _texts(columns, 'image.name'), {}
    rows = zip(*(columns[f'image.{name}'].tolist() for name in ('id', 'height', 'width')))
    for row, (image_id, height, width) in enumerate(rows):
        name = read_name({'file_name': names(row)}, 'file_name')
        check_file_name(name)
        check_image_size(height, width)
        pictures[image_id] = (name, height, width)
    return pictures


def _ranges(columns: Columns, name: str) -> list[int]:
    """Where the values of row i begin (at i) and end (at i + 1)."""
    return [0, *columns[f'{name}.ends'].tolist()]


def _texts(columns: Columns, name: str) -> Callable[[int], str]:
    values, bounds = columns[name].tobytes(), _ranges(columns, name)

    def text(row: int) -> str:
        try:
            return str(values[bounds[row] : bounds[row + 1]], 'utf-8')
        except UnicodeDecodeError as error:
            raise ReferError(f'it has a text in its column {name} that is not UTF-8') from error

    return text


def _ref_maker(columns: Columns, pictures: dict[int, tuple[str, int, int]], splits: list[str]) -> Callable[[int], Ref]:
    """A function that makes the ref of a row; refs of one annotation share its segmentation, as they do in REFER's
    reader.
    """
    ref_ids, categories, annotations, of_split = (
        columns[f'ref.{name}'].tolist() for name in ('id', 'category', 'annotation', 'split')
    )
    ann_ids, images, image_ids = columns['annotation.id'].tolist(), columns['annotation.image'].tolist(), list(pictures)
    bounds, make_sentence, make_segmentation = (
        _ranges(columns, 'ref.sentences'),
        _sentence_maker(columns),
        _segmentation_maker(columns),
    )
    made: dict[int, Segmentation] = {}

    def make(row: int) -> Ref:
        annotation = annotations[row]
        image_id = image_ids[images[annotation]]
        if annotation not in made:
            made[annotation] = make_segmentation(annotation, pictures[image_id])
        sentences = tuple(map(make_sentence, range(bounds[row], bounds[row + 1])))
        return Ref(
            ref_ids[row],
            ann_ids[annotation],
            image_id,
            categories[row],
            splits[of_split[row]],
            sentences,
            made[annotation],
        )

    return make


def _sentence_maker(columns: Columns) -> Callable[[int], Sentence]:
    sent_ids, sents, raws = (
        columns['sentence.id'].tolist(),
        _texts(columns, 'sentence.sent'),
        _texts(columns, 'sentence.raw'),
    )

    def make(row: int) -> Sentence:
        sent, raw = sents(row), raws(row)
        if is_blank(sent) or is_blank(raw) or max(len(sent), len(raw)) > MAX_SENTENCE_CHARACTERS:
            raise ReferError(f'it has an empty or endless sentence ({sent_ids[row]})')
        return Sentence(sent_ids[row], sent, raw)

    return make


def _segmentation_maker(columns: Columns) -> Callable[[int, tuple[str, int, int]], Segmentation]:
    kinds, points, runs, codes = (
        columns[name] for name in ('annotation.kind', 'part.points', 'annotation.runs', 'annotation.code')
    )
    parts, ends, run_bounds, code_bounds = (
        _ranges(columns, name) for name in ('annotation.parts', 'part.points', 'annotation.runs', 'annotation.code')
    )

    def make(row: int, picture: tuple[str, int, int]) -> Segmentation:
        kind = kinds[row]
        if kind == _POLYGONS:
            return [points[ends[part] : ends[part + 1]].tolist() for part in range(parts[row], parts[row + 1])]
        if kind == _RUNS:
            counts: Any = runs[run_bounds[row] : run_bounds[row + 1]].tolist()
        else:
            counts = codes[code_bounds[row] : code_bounds[row + 1]].tobytes()
            # broken text is refused when it is decoded
            counts = counts if kind == _BYTES else str(counts, 'utf-8', 'replace')
        return {'size': list(picture[1:]), 'counts': counts}

    return make


def _count(columns: Columns, splits: list[str]) -> dict[str, tuple[int, int, int]]:
    """Refs, images and sentences of each split."""
    rows, num_images = columns['ref.split'], len(columns['image.id'])
    # each split and image that there is, once
    pairs = np.unique(rows * num_images + columns['annotation.image'][columns['ref.annotation']])
    of_images = pairs // num_images
    of_sentences = np.repeat(rows, np.diff(columns['ref.sentences.ends'], prepend=0))
    counts = (np.bincount(each, minlength=len(splits)).tolist() for each in (rows, of_images, of_sentences))
    return dict(zip(splits, zip(*counts)))
