"""Makes a trainable set from a table of pictures, masks and sentences."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from cmmasksd.datasets.custom.objects import Objects
from cmmasksd.datasets.custom.problems import Problems
from cmmasksd.datasets.custom.publishing import check_place, picture_names, publish
from cmmasksd.datasets.custom.sources import Sources
from cmmasksd.datasets.custom.table import Row, read_table
from cmmasksd.datasets.refer.errors import ReferError
from cmmasksd.datasets.refer.published import PUBLISHED_COUNTS

SPLITS = ('train', 'val', 'test', 'testA', 'testB')
DEFAULT_VAL_FRACTION = 0.1
_NAME = re.compile(r'[A-Za-z0-9_+][A-Za-z0-9_+.-]{0,63}')
_TAKEN = {'refclef', 'images', 'train2014', *(dataset for dataset, _ in PUBLISHED_COUNTS)}
_EXAMPLES = 5


def make_custom(
    table: str | os.PathLike[str],
    out: str | os.PathLike[str],
    dataset: str,
    split_by: str = 'custom',
    images: str | os.PathLike[str] | None = None,
    masks: str | os.PathLike[str] | None = None,
    splits: Sequence[str] = SPLITS,
    val_fraction: float | None = None,
    seed: int = 0,
    mask_threshold: int | None = None,
    link: bool = False,
    force: bool = False,
    report: Callable[[str], None] | None = None,
) -> dict[str, dict[str, int]]:
    """Makes a set in REFER's format from a table: ``<out>/<dataset>/`` and ``<out>/images/train2014/<dataset>_*``.

    Its columns are ``REQUIRED`` and ``OPTIONAL`` of ``table``. Rows of one picture with one mask, or one ``object_id``,
    become one ref.

    Args:
        table: CSV, tab-separated values or JSON lines, by its suffix.
        out: root of the data; other sets in it are not touched.
        dataset: name of the set: a folder's name that no published set has.
        split_by: the part of ``refs(<split_by>).p`` in brackets.
        images: folder that pictures are relative to; None: the table's.
        masks: folder that mask files are relative to; None: the table's.
        splits: names that the column ``split`` may hold.
        val_fraction: share of pictures drawn for ``val`` where the table names no splits; None: 0.1.
        seed: of that draw.
        mask_threshold: pixels of mask files above this grey level belong to the object; None: those that are not black.
        link: link to the pictures and do not copy them.
        force: replace a set that was made from a table before.
        report: called with lines of text, for instance ``print``.

    Returns:
        Images, refs and sentences of each split.

    Raises:
        ReferError: what is wrong with the table, all rows together; nothing is written then.
        FileExistsError: the set is there already, or something else in its place.
        ValueError: an argument that makes no sense.
    """
    path, root, report = Path(table), Path(out).expanduser(), report or (lambda line: None)
    _check_arguments(dataset, split_by, val_fraction, mask_threshold, seed)
    old_names = check_place(root / dataset, force)
    problems = Problems(path)
    rows, unused = read_table(path, problems)
    if unused:
        report(f'Not used: column {", column ".join(unused)}.')
    sources = Sources(Path(images or path.parent), Path(masks or path.parent), mask_threshold)
    objects = _gather(rows, sources, splits, problems)
    problems.raise_any()
    _divide(objects, rows, path, val_fraction, seed)
    _tell_oddities(objects, report)
    names = picture_names(dataset, objects.pictures)
    pictures = {names[picture.digest]: picture for picture in objects.pictures}
    return publish(root, dataset, split_by, *objects.records(names), pictures, link, old_names)


def _divide(objects: Objects, rows: Sequence[Row], path: Path, val_fraction: float | None, seed: int) -> None:
    if not any(row.split for row in rows):
        objects.divide(DEFAULT_VAL_FRACTION if val_fraction is None else val_fraction, seed)
    elif val_fraction is not None:
        raise ValueError(f'{path} names splits itself; leave out --val-fraction')


def _check_arguments(
    dataset: str, split_by: str, val_fraction: float | None, mask_threshold: int | None, seed: int
) -> None:
    if not _NAME.fullmatch(dataset) or dataset in _TAKEN:
        raise ValueError(
            f"{dataset!r} cannot be the name of a set of one's own; use letters, digits, _ and -, and no name of a "
            'published set'
        )
    if not _NAME.fullmatch(split_by):
        raise ValueError(f"{split_by!r} cannot be the name of a split's maker; use letters, digits, _ and -")
    if val_fraction is not None and not 0 <= val_fraction < 1:
        raise ValueError(f'--val-fraction must be at least 0 and below 1, not {val_fraction}')
    if mask_threshold is not None and not 0 <= mask_threshold < 255:
        raise ValueError(f'--mask-threshold must be from 0 to 254, not {mask_threshold}')
    if seed < 0:
        raise ValueError(f'--seed must be at least 0, not {seed}')


def _gather(rows: Sequence[Row], sources: Sources, splits: Sequence[str], problems: Problems) -> Objects:
    objects, splits_wanted = Objects(), any(row.split for row in rows)
    for row in rows:
        with problems.of_line(row.line):
            if splits_wanted and row.split not in splits:
                named = f'its split {row.split!r} is unknown' if row.split else 'it has no split, but other rows have'
                raise ReferError(f'{named}; use one of: {", ".join(splits)}')
        with problems.of_line(row.line):
            picture = sources.picture(row.image)
            objects.add(row, picture, sources.mask(row.mask, picture))
    return objects


def _tell_oddities(objects: Objects, report: Callable[[str], None]) -> None:
    if objects.dropped:
        report(
            f'Warning: {objects.dropped} polygon parts that enclose nothing were left out; the other parts of their '
            'objects are used.'
        )
    shared = objects.in_several_splits()
    if shared:
        examples = ', '.join(picture.path.name for picture in shared[:_EXAMPLES])
        report(
            f'Warning: {len(shared)} pictures are in more than one split (such as {examples}), so results on val and '
            'test will look too good.'
        )
