"""Pictures that stand in two splits, of one set or of two: what was trained on is then evaluated on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path

from cmmasksd.datasets.checking.annotations import CheckedSet, name_some
from cmmasksd.datasets.checking.report import Kind, Report
from cmmasksd.datasets.refer.errors import ReferError
from cmmasksd.datasets.refer.pickles import UnsafePickleError
from cmmasksd.datasets.refer.reader import read_records

FAMILY = ('refcoco', 'refcoco+', 'refcocog')  # their image ids are COCO's, so they can be compared
WITHIN = Kind('overlap-within', 'warning', 'pairs of splits that share pictures')
ACROSS = Kind('overlap-across', 'warning', 'splits whose pictures stand in train of another set')
NOT_COMPARED = Kind('not-compared', 'warning', 'sets or refs that could not be compared')

Splits = Mapping[str, set[int]]


def check_overlap_within(checked: CheckedSet, report: Report) -> None:
    """Compares every two splits of the set. The google split of RefCOCOg divides objects, not pictures, and is known
    to overlap.
    """
    splits = _group((ref.split, ref.image_id) for ref in checked.refs)
    for first, second in combinations(splits, 2):
        kept, other = (second, first) if first == 'train' else (first, second)
        common = splits[kept] & splits[other]
        if common:
            share = f'{len(common)} of the {len(splits[kept])} images'
            message = f'{share} of {kept} also stand in {other}: image {name_some(sorted(common))}'
            report.add(WITHIN, str(checked.refs_path), message)


def check_overlap_across(checked: CheckedSet, root: Path, dataset: str, split_by: str, report: Report) -> None:
    """Compares train with val and test of the other sets of the family that lie in the same root, both ways; other
    sets are not looked at.
    """
    if dataset not in FAMILY:
        return
    own_name, own = f'{dataset} ({split_by})', _group((ref.split, ref.image_id) for ref in checked.refs)
    for path in (path for name in FAMILY if name != dataset for path in sorted((root / name).glob('refs(*).p'))):
        other_name, other = f'{path.parent.name} ({path.stem[5:-1]})', _read_splits(path, report)
        _compare(own_name, own, other_name, other, checked.refs_path, report)
        _compare(other_name, other, own_name, own, checked.refs_path, report)


def _compare(train_name: str, train_set: Splits, name: str, splits: Splits, path: Path, report: Report) -> None:
    for split, images in splits.items():
        common = images & train_set.get('train', set()) if split != 'train' else None
        if common:
            share = f'{len(common)} of the {len(images)} images of {name} {split}'
            message = f'{share} stand in train of {train_name}; do not train on both as they are'
            report.add(ACROSS, str(path), message)


def _read_splits(path: Path, report: Report) -> Splits:
    """The image ids of each split of another set, whose own problems are not this report's: they are counted only."""
    broken = []
    try:
        records = read_records(path, lambda place, error: broken.append(place))
    except (ReferError, UnsafePickleError, OSError) as error:
        report.add(NOT_COMPARED, str(path), str(error))
        return {}
    if broken:
        report.add(NOT_COMPARED, str(path), f'{len(broken)} of its refs cannot be used; check that set by itself')
    return _group((record['split'], record['image_id']) for record in records)


def _group(rows: Iterable[tuple[str, int]]) -> dict[str, set[int]]:
    splits: dict[str, set[int]] = {}
    for split, image_id in rows:
        splits.setdefault(split, set()).add(image_id)
    return splits
