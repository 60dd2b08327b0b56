"""Reader of the REFER format (Kazemzadeh et al. 2014, Yu et al. 2016): RefCOCO, RefCOCO+, RefCOCOg, refclef, RefShapes and one's own sets.

On disk: ``<root>/<dataset>/refs(<split_by>).p``, a pickle of the expressions, ``<root>/<dataset>/instances.json``, COCO's objects and pictures,
and the pictures in one of the folders of ``IMAGE_FOLDERS``. Every record is checked here, so that nothing fails hours into a run.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .checks import ReferError, is_text, located, read_field, read_name
from .instances import Instances
from .plain_pickle import load_plain_pickle
from .segmentation import Segmentation, decode_mask

__all__ = ['PUBLISHED_COUNTS', 'Image', 'Ref', 'ReferData', 'ReferError', 'ReferWarning', 'Sentence', 'decode_mask', 'load_refer']

IMAGE_FOLDERS = ('images/mscoco/images/train2014', 'images/train2014', 'train2014')
REFCLEF_FOLDERS = ('images/mscoco/images/saiapr_tc-12', 'images/saiapr_tc-12', 'saiapr_tc-12')
REFCLEF_BROKEN_IMAGES = frozenset({'19579.jpg', '17975.jpg', '19575.jpg'})  # left out by all published code
MAX_SENTENCE_CHARACTERS = 10_000
_MIN_SENTENCE_BYTES = 16  # of one sentence in a pickle whose strings are all shared; with fewer, whole sentences are

# (dataset, split_by) -> split -> refs, images, sentences (None: not published in a source we can cite)
PUBLISHED_COUNTS: dict[tuple[str, str], dict[str, tuple[int, int, int | None]]] = {
    ('refcoco', 'unc'): {
        'train': (42404, 16994, 120624),
        'val': (3811, 1500, 10834),
        'testA': (1975, 750, 5657),
        'testB': (1810, 750, 5095),
    },
    ('refcoco+', 'unc'): {
        'train': (42278, 16992, 120191),  # derived: the published total of 141,564 less val, testA and testB
        'val': (3805, 1500, 10758),
        'testA': (1975, 750, 5726),
        'testB': (1798, 750, 4889),
    },
    ('refcocog', 'umd'): {'train': (42226, 21899, None), 'val': (2573, 1300, None), 'test': (5023, 2600, 9602)},
    ('refcocog', 'google'): {'train': (44822, 24698, 85474), 'val': (5000, 4650, 9536)},
}


class ReferWarning(UserWarning):
    """Annotations that can be used, but are not quite what was published."""


@dataclass(frozen=True)
class Sentence:
    """One referring expression: ``sent`` is REFER's cleaned form (what CRIS reads), ``raw`` the one typed (what LAVT reads)."""

    sent_id: int
    sent: str
    raw: str


@dataclass(frozen=True)
class Ref:
    """One referred object, with 1 or more expressions and its polygons (degenerate parts dropped) or RLE, in pixels of the picture."""

    ref_id: int
    ann_id: int
    image_id: int
    category_id: int
    split: str
    sentences: tuple[Sentence, ...]
    segmentation: Segmentation


@dataclass(frozen=True)
class Image:
    """One picture; the file itself is checked when it is opened."""

    image_id: int
    path: str
    height: int
    width: int


@dataclass(frozen=True)
class ReferData:
    """A whole set: its refs in the file's order, and the pictures that they name."""

    root: str
    dataset: str
    split_by: str
    refs: tuple[Ref, ...]
    images: dict[int, Image]

    @property
    def split_names(self) -> tuple[str, ...]:
        """The splits that exist, in order of first appearance."""
        return tuple(dict.fromkeys(ref.split for ref in self.refs))

    def split(self, name: str) -> tuple[Ref, ...]:
        """The refs of one split, by its exact name (``testA`` is not ``test``).

        Raises:
            ReferError: no such split.
        """
        refs = tuple(ref for ref in self.refs if ref.split == name)
        if not refs:
            existing = ', '.join(self.split_names)
            raise ReferError(f'{self.dataset} ({self.split_by}) in {self.root} has no split {name!r}; use one of: {existing}')
        return refs


def load_refer(root: str | os.PathLike[str], dataset: str, split_by: str) -> ReferData:
    """Reads and checks the annotations of one set; no picture is opened.

    A ref's own ``file_name`` is never used (it carries a suffix that no file has). Refs of refclef's three broken pictures are left out.
    Only pictures and annotations that a ref names are looked into.

    Args:
        root: folder that holds ``<dataset>/`` and the pictures.
        dataset: folder name of the annotations, e.g. ``refcoco+``.
        split_by: ``unc``, ``umd``, ``google``, ``berkeley`` ...: the part of ``refs(<split_by>).p`` in brackets.

    Raises:
        ReferError: missing files or image folder, a record that is incomplete, contradicts another one or cannot be used.
        UnsafePickleError: the refs file is not plain data, or broken.

    Warns:
        ReferWarning: degenerate polygon parts were dropped; refs, images or sentences of a split are not as many as published.
    """
    base = Path(root).expanduser()
    refs_path, instances_path = _find_annotations(base / dataset, split_by)
    records = _read_records(refs_path)
    instances = Instances(instances_path, {record['image_id'] for record in records}, {record['ann_id'] for record in records})
    refs, pictures = [], {}
    for record in records:
        image_id = record['image_id']
        with located(f'{refs_path}, ref {record["ref_id"]}'):
            if image_id not in pictures:
                pictures[image_id] = instances.image(image_id)
            if dataset != 'refclef' or pictures[image_id][0] not in REFCLEF_BROKEN_IMAGES:
                refs.append(_make_ref(record, instances))
    images = _make_images(refs, pictures, base, dataset)
    data = ReferData(str(root), dataset, split_by, tuple(refs), images)
    _warn_of_dropped_parts(instances)
    _warn_of_counts(data, refs_path)
    return data


def _find_annotations(folder: Path, split_by: str) -> tuple[Path, Path]:
    refs_path, instances_path = folder / f'refs({split_by}).p', folder / 'instances.json'
    missing = [str(path) for path in (refs_path, instances_path) if not path.is_file()]
    if not missing:
        return refs_path, instances_path
    found = sorted(path.name for path in folder.glob('refs(*).p')) if folder.is_dir() else []
    hint = f'the folder holds {", ".join(found)}' if found else f'there is no refs(*).p in {folder}'
    if folder.is_dir() and any(folder.glob('grefs(*).json')):
        hint += '; its grefs(*).json is gRefCOCO, whose expressions for several or no objects are not supported'
    raise ReferError(f'{" and ".join(missing)} not found ({hint}); check data_root, dataset and split_by')


def _read_records(path: Path) -> list[dict[str, Any]]:
    """The pickle's refs, each with its ids, its split and a list of sentences."""
    size = path.stat().st_size
    if size == 0:
        raise ReferError(f'{path} is empty; get it anew')
    records = load_plain_pickle(path)
    if not isinstance(records, list) or not records:
        raise ReferError(f'{path} holds no refs: a list of at least one record is expected')
    seen: set[int] = set()
    # Shared references let a small pickle hold endlessly many sentences; an honest one spends bytes on each.
    budget = size // _MIN_SENTENCE_BYTES
    for index, record in enumerate(records):
        with located(f'{path}, record {index}'):
            _check_record(record)
            if record['ref_id'] in seen:
                raise ReferError(f'ref_id {record["ref_id"]} is there twice; give each ref an id of its own')
            budget -= len(record['sentences'])
            if budget < 0:
                raise ReferError('there are more sentences than the size of the file allows: its records repeat one another')
        seen.add(record['ref_id'])
    return records


def _check_record(record: Any) -> None:
    if isinstance(record, dict) and isinstance(record.get('ann_id'), list):
        raise ReferError('ann_id is a list, as in gRefCOCO: expressions for several or no objects are not supported; use a set with one object a ref')
    for key in ('ref_id', 'ann_id', 'image_id', 'category_id'):
        read_field(record, key, int)
    read_name(record, 'split')
    if not read_field(record, 'sentences', list):
        raise ReferError('it has no sentence; leave the ref out or give it one')


def _make_ref(record: dict[str, Any], instances: Instances) -> Ref:
    sentences = tuple(_make_sentence(sentence) for sentence in record['sentences'])
    segmentation = instances.segmentation(record['ann_id'], record['image_id'])
    ids = (record['ref_id'], record['ann_id'], record['image_id'], record['category_id'])
    return Ref(*ids, record['split'], sentences, segmentation)


def _make_sentence(record: Any) -> Sentence:
    sent_id = read_field(record, 'sent_id', int)
    for key in ('sent', 'raw'):
        text = read_field(record, key, str)
        if not text or text.isspace():
            raise ReferError(f'sentence {sent_id} is empty ({key!r}); leave it out or write it anew')
        if len(text) > MAX_SENTENCE_CHARACTERS or not is_text(text):
            raise ReferError(f'sentence {sent_id} ({key!r}) is not text of at most {MAX_SENTENCE_CHARACTERS} characters; write it anew')
    return Sentence(sent_id, record['sent'], record['raw'])


def _make_images(refs: list[Ref], pictures: dict[int, tuple[str, int, int]], root: Path, dataset: str) -> dict[int, Image]:
    image_ids = list(dict.fromkeys(ref.image_id for ref in refs))
    if not image_ids:
        raise ReferError(f'{root / dataset} holds no ref that can be used: all name pictures that are known to be broken')
    folder = _find_images(root, dataset, pictures[image_ids[0]][0])
    paths = {image_id: str(folder / pictures[image_id][0]) for image_id in image_ids}
    return {image_id: Image(image_id, path, *pictures[image_id][1:]) for image_id, path in paths.items()}


def _find_images(root: Path, dataset: str, first_name: str) -> Path:
    """The usual folder that holds the first picture; if none does, the first one that exists (a missing picture is named when opened)."""
    folders = [root / folder for folder in (REFCLEF_FOLDERS if dataset == 'refclef' else IMAGE_FOLDERS)]
    existing = [folder for folder in folders if folder.is_dir()]
    if not existing:
        raise ReferError(f'no image folder: looked for {", ".join(map(str, folders))}; put or link the pictures into one of them')
    return next((folder for folder in existing if (folder / first_name).is_file()), existing[0])


def _warn_of_dropped_parts(instances: Instances) -> None:
    if instances.dropped:
        examples = ', '.join(map(str, list(instances.dropped)[:5]))
        warnings.warn(
            f'{instances.path}: dropped {sum(instances.dropped.values())} degenerate polygon parts of {len(instances.dropped)} annotations '
            f'(such as {examples}); their other parts are used',
            ReferWarning,
            stacklevel=3,
        )


def _warn_of_counts(data: ReferData, path: Path) -> None:
    differences = []
    for split, published in PUBLISHED_COUNTS.get((data.dataset, data.split_by), {}).items():
        refs = [ref for ref in data.refs if ref.split == split]
        found = (len(refs), len({ref.image_id for ref in refs}), sum(len(ref.sentences) for ref in refs))
        for what, number, expected in zip(('refs', 'images', 'sentences'), found, published, strict=True):
            if expected is not None and number != expected:
                differences.append(f'{split} has {number} {what}, published are {expected}')
    if differences:
        warnings.warn(f'{path} is not the published set: {"; ".join(differences)}', ReferWarning, stacklevel=3)
