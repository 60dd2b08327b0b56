"""Walks refs and instances.json by the reader's own rules, but does not stop at the first error."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmmasksd.datasets.checking.report import Kind, Report
from cmmasksd.datasets.refer.errors import ReferError, located
from cmmasksd.datasets.refer.instances import Instances
from cmmasksd.datasets.refer.pickles import UnsafePickleError
from cmmasksd.datasets.refer.reader import REFCLEF_BROKEN_IMAGES, find_annotations, make_sentence, read_records
from cmmasksd.datasets.refer.records import Sentence
from cmmasksd.datasets.refer.segmentation import encode_mask

FILE = Kind('file', 'error', 'files that cannot be used')
REF = Kind('ref', 'error', 'refs that cannot be used')
INSTANCES_RECORD = Kind('instances-record', 'error', 'records of instances.json that cannot be used')
IMAGE_RECORD = Kind('image-record', 'error', 'image records that are missing or cannot be used')
SEGMENTATION = Kind('segmentation', 'error', 'annotations or segmentations that are missing or cannot be used')
EMPTY_MASK = Kind('empty-mask', 'error', 'masks without any pixel')
SENTENCE = Kind('sentence', 'error', 'sentences that cannot be used')
DEGENERATE = Kind(
    'degenerate-polygon', 'warning', 'annotations with polygon parts that enclose nothing; their other parts are used'
)
SHARED = Kind('shared-annotation', 'info', 'annotations that several refs share')
LEFT_OUT = Kind('left-out', 'info', 'refs left out because their pictures are known to be broken')


@dataclass(frozen=True)
class CheckedRef:
    """What later checks need of a ref: the sentences that can be used, and how many the file has."""

    ref_id: int
    ann_id: int
    image_id: int
    split: str
    sentences: tuple[Sentence, ...]
    num_sentences: int


@dataclass(frozen=True)
class CheckedSet:
    """The refs that could be read, and (file name, height, width) of the pictures whose record can be used."""

    refs_path: Path
    refs: list[CheckedRef]
    pictures: dict[int, tuple[str, int, int]]


def check_annotations(root: Path, dataset: str, split_by: str, report: Report) -> CheckedSet | None:
    """Checks all records of a set and gives what is left to look at; None if its files cannot be read at all."""
    try:
        refs_path, instances_path = find_annotations(root / dataset, split_by)
    except ReferError as error:
        report.add(FILE, str(root / dataset), str(error))
        return None
    records, instances = _read_refs(refs_path, report), None
    try:
        wanted = ({record['image_id'] for record in records}, {record['ann_id'] for record in records})
        instances = Instances(instances_path, *wanted, on_error=report.handler(INSTANCES_RECORD))
    except (ReferError, OSError) as error:
        report.add(FILE, str(instances_path), str(error))
    walk = _Walk(refs_path, dataset, instances, report)
    refs = [ref for ref in map(walk.check, records) if ref is not None]
    walk.report_degenerate_polygons()
    _report_shared_annotations(refs_path, refs, report)
    return (
        CheckedSet(refs_path, refs, {image_id: picture for image_id, picture in walk.pictures.items() if picture})
        if refs
        else None
    )


def _read_refs(path: Path, report: Report) -> list[dict[str, Any]]:
    try:
        return read_records(path, report.handler(REF))
    except (ReferError, UnsafePickleError, OSError) as error:
        report.add(FILE, str(path), str(error))
        return []


class _Walk:
    """Checks one ref after another; pictures and annotations that several refs name are checked and reported once."""

    def __init__(self, refs_path: Path, dataset: str, instances: Instances | None, report: Report) -> None:
        self.refs_path, self.dataset, self.instances, self.report = refs_path, dataset, instances, report
        self.pictures: dict[int, tuple[str, int, int] | None] = {}
        self._annotations: set[tuple[int, int]] = set()

    def check(self, record: dict[str, Any]) -> CheckedRef | None:
        """The ref without what cannot be used of it; None if it is one of those that are always left out."""
        place = f'{self.refs_path}, ref {record["ref_id"]}'
        picture = self._check_picture(place, record)
        if picture and self.dataset == 'refclef' and picture[0] in REFCLEF_BROKEN_IMAGES:
            self.report.add(
                LEFT_OUT, place, f'its picture {picture[0]} is left out by all published code', ref_id=record['ref_id']
            )
            return None
        if picture:
            self._check_segmentation(place, record, *picture[1:])
        ids = (record['ref_id'], record['ann_id'], record['image_id'])
        return CheckedRef(*ids, record['split'], self._check_sentences(place, record), len(record['sentences']))

    def _check_picture(self, place: str, record: dict[str, Any]) -> tuple[str, int, int] | None:
        image_id = record['image_id']
        if image_id not in self.pictures and self.instances:
            self.pictures[image_id] = None
            with located(place, self.report.handler(IMAGE_RECORD, ref_id=record['ref_id'], image_id=image_id)):
                self.pictures[image_id] = self.instances.image(image_id)
        return self.pictures.get(image_id)

    def _check_segmentation(self, place: str, record: dict[str, Any], height: int, width: int) -> None:
        ann_id, image_id = record['ann_id'], record['image_id']
        if (ann_id, image_id) in self._annotations or self.instances is None:
            return
        self._annotations.add((ann_id, image_id))
        ids = dict(ref_id=record['ref_id'], ann_id=ann_id, image_id=image_id)
        with located(place, self.report.handler(SEGMENTATION, **ids)):
            cleaned = self.instances.segmentation(ann_id, image_id)
            with located(
                f'{place}: annotation {ann_id} of {self.instances.path}', self.report.handler(EMPTY_MASK, **ids)
            ):
                encode_mask(cleaned, height, width)

    def _check_sentences(self, place: str, record: dict[str, Any]) -> tuple[Sentence, ...]:
        sentences = []
        for sentence in record['sentences']:
            with located(place, self.report.handler(SENTENCE, ref_id=record['ref_id'])):
                sentences.append(make_sentence(sentence))
        return tuple(sentences)

    def report_degenerate_polygons(self) -> None:
        """The parts that the reader dropped from annotations that can be used otherwise."""
        if self.instances is None:
            return
        for ann_id, parts in self.instances.dropped.items():
            place = f'{self.instances.path}, annotation {ann_id}'
            self.report.add(
                DEGENERATE, place, f'{parts} of its polygon parts enclose nothing and are dropped', ann_id=ann_id
            )


def _report_shared_annotations(path: Path, refs: list[CheckedRef], report: Report) -> None:
    sharing: dict[int, list[int]] = {}
    for ref in refs:
        sharing.setdefault(ref.ann_id, []).append(ref.ref_id)
    for ann_id, ref_ids in sharing.items():
        if len(ref_ids) > 1:
            report.add(
                SHARED, f'{path}, annotation {ann_id}', f'it is shared by refs {name_some(ref_ids)}', ann_id=ann_id
            )


def name_some(numbers: list[int], most: int = 5) -> str:
    """'1, 2, 3, 4, 5 and 7 more'."""
    named = ', '.join(map(str, numbers[:most]))
    return f'{named} and {len(numbers) - most} more' if len(numbers) > most else named
