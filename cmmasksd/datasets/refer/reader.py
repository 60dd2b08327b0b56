"""Reader of the REFER format (Kazemzadeh et al. 2014, Yu et al. 2016): RefCOCO, RefCOCO+, RefCOCOg, refclef, RefShapes
and one's own sets.

On disk: ``<root>/<dataset>/refs(<split_by>).p``, a pickle of the expressions, ``<root>/<dataset>/instances.json``,
COCO's objects and pictures, and the pictures in one of the folders of ``IMAGE_FOLDERS``. Every record is checked here,
so that nothing fails hours into a run.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from cmmasksd.datasets.refer.converted.file import read_converted, source_paths
from cmmasksd.datasets.refer.errors import ErrorHandler, ReferError, ReferWarning, located
from cmmasksd.datasets.refer.fields import MAX_SENTENCE_CHARACTERS, is_blank, is_text, read_field, read_name
from cmmasksd.datasets.refer.garbage_collection import paused_collector
from cmmasksd.datasets.refer.instances import Instances
from cmmasksd.datasets.refer.pickles import load_plain_pickle
from cmmasksd.datasets.refer.published import compare_counts
from cmmasksd.datasets.refer.records import Annotations, Image, Ref, ReferData, Sentence, count_splits, no_split

IMAGE_FOLDERS = ('images/mscoco/images/train2014', 'images/train2014', 'train2014')
REFCLEF_FOLDERS = ('images/mscoco/images/saiapr_tc-12', 'images/saiapr_tc-12', 'saiapr_tc-12')
REFCLEF_BROKEN_IMAGES = frozenset({'19579.jpg', '17975.jpg', '19575.jpg'})  # left out by all published code
_MIN_SENTENCE_BYTES = 16  # of one sentence in a pickle whose strings are all shared; with fewer, whole sentences are


def load_refer(root: str | os.PathLike[str], dataset: str, split_by: str, split: str | None = None) -> ReferData:
    """Reads and checks the annotations of one set; no picture is opened.

    A ref's own ``file_name`` is never used (it carries a suffix that no file has). Refs of refclef's three broken
    pictures are left out. Only pictures and annotations that a ref names are looked into. Where
    ``tools/dataset_converters/convert_refer.py`` left a converted form of the very same files, that is read, which
    gives equal records several times faster.

    Args:
        root: folder that holds ``<dataset>/`` and the pictures.
        dataset: folder name of the annotations, e.g. ``refcoco+``.
        split_by: ``unc``, ``umd``, ``google``, ``berkeley`` ...: the part of ``refs(<split_by>).p`` in brackets.
        split: give the refs of this split, and the pictures that they name, only; the whole set is checked all the
            same.

    Raises:
        ReferError: missing files or image folder, a record that is incomplete, contradicts another one or cannot be
            used, no such split.
        UnsafePickleError: the refs file is not plain data, or broken.

    Warns:
        ReferWarning: degenerate polygon parts were dropped; refs, images or sentences of a split are not as many as
            published; there is a converted form, but it is damaged or was made from other files.
    """
    base = Path(root).expanduser()
    folder = base / dataset
    with paused_collector():
        annotations = read_converted(folder, split_by, split) or read_annotations(folder, split_by, split)
        if split is not None and split not in annotations.counts:
            raise no_split(split, annotations.counts, str(root), dataset, split_by)
        images = _make_images(annotations, base, dataset)
    refs_path, instances_path = source_paths(folder, split_by)
    _warn_of_dropped_parts(annotations.dropped, instances_path)
    _warn_of_counts(annotations.counts, dataset, split_by, refs_path)
    return ReferData(str(root), dataset, split_by, annotations.refs, images)


def read_annotations(folder: Path, split_by: str, split: str | None = None) -> Annotations:
    """Reads and checks REFER's own two files in ``<root>/<dataset>``; raises as ``load_refer`` does.

    Args:
        folder: ``<root>/<dataset>``.
        split_by: the part of ``refs(<split_by>).p`` in brackets.
        split: the refs of this split only.
    """
    refs_path, instances_path = find_annotations(folder, split_by)
    records = read_records(refs_path)
    instances = Instances(
        instances_path, {record['image_id'] for record in records}, {record['ann_id'] for record in records}
    )
    refs, pictures = [], {}
    for record in records:
        with located(f'{refs_path}, ref {record["ref_id"]}'):
            picture = instances.image(record['image_id'])
            if folder.name != 'refclef' or picture[0] not in REFCLEF_BROKEN_IMAGES:
                refs.append(_make_ref(record, instances))
                pictures[record['image_id']] = picture
    if not refs:
        raise ReferError(f'{folder} holds no ref that can be used: all name pictures that are known to be broken')
    kept = tuple(ref for ref in refs if split in (None, ref.split))
    counts = count_splits((ref.split, ref.image_id, len(ref.sentences)) for ref in refs)
    return Annotations(kept, pictures, instances.dropped, counts)


def find_annotations(folder: Path, split_by: str) -> tuple[Path, Path]:
    """The paths of REFER's own two files, refs and instances; raises ReferError, with what there is instead, where one
    is missing.
    """
    refs_path, instances_path = source_paths(folder, split_by)
    missing = [str(path) for path in (refs_path, instances_path) if not path.is_file()]
    if not missing:
        return refs_path, instances_path
    found = sorted(path.name for path in folder.glob('refs(*).p')) if folder.is_dir() else []
    hint = f'the folder holds {", ".join(found)}' if found else f'there is no refs(*).p in {folder}'
    if folder.is_dir() and any(folder.glob('grefs(*).json')):
        hint += '; its grefs(*).json is gRefCOCO, whose expressions for several or no objects are not supported'
    raise ReferError(f'{" and ".join(missing)} not found ({hint}); check data_root, dataset and split_by')


def read_records(path: Path, on_error: ErrorHandler | None = None) -> list[dict[str, Any]]:
    """The pickle's refs, each with its ids, its split and a list of sentences.

    Args:
        path: the refs file.
        on_error: is given the errors of single refs, which are then left out; by default the first one is raised.

    Raises:
        ReferError: a file without refs, or with more than its size allows.
        UnsafePickleError: the file is not plain data, or broken.
    """
    size = path.stat().st_size
    if size == 0:
        raise ReferError(f'{path} is empty; get it anew')
    records = load_plain_pickle(path)
    if not isinstance(records, list) or not records:
        raise ReferError(f'{path} holds no refs: a list of at least one record is expected')
    seen: set[int] = set()
    # Shared references let a small pickle hold endlessly many sentences; an honest one spends bytes on each.
    budget = size // _MIN_SENTENCE_BYTES
    checked = []
    for index, record in enumerate(records):
        with located(f'{path}, record {index}', on_error):
            _check_record(record)
            if record['ref_id'] in seen:
                raise ReferError(f'ref_id {record["ref_id"]} is there twice; give each ref an id of its own')
            seen.add(record['ref_id'])
            checked.append(record)
            budget -= len(record['sentences'])
        if budget < 0:
            raise ReferError(
                f'{path}, record {index}: there are more sentences than the size of the file allows: its records '
                'repeat one another'
            )
    return checked


def _check_record(record: Any) -> None:
    if isinstance(record, dict) and isinstance(record.get('ann_id'), list):
        raise ReferError(
            'ann_id is a list, as in gRefCOCO: expressions for several or no objects are not supported; use a set '
            'with one object a ref'
        )
    for key in ('ref_id', 'ann_id', 'image_id', 'category_id'):
        read_field(record, key, int)
    read_name(record, 'split')
    if not read_field(record, 'sentences', list):
        raise ReferError('it has no sentence; leave the ref out or give it one')


def _make_ref(record: dict[str, Any], instances: Instances) -> Ref:
    sentences = tuple(make_sentence(sentence) for sentence in record['sentences'])
    segmentation = instances.segmentation(record['ann_id'], record['image_id'])
    ids = (record['ref_id'], record['ann_id'], record['image_id'], record['category_id'])
    return Ref(*ids, record['split'], sentences, segmentation)


def make_sentence(record: Any) -> Sentence:
    """One sentence of a ref's record; raises ReferError where it cannot be read."""
    sent_id = read_field(record, 'sent_id', int)
    for key in ('sent', 'raw'):
        text = read_field(record, key, str)
        if is_blank(text):
            raise ReferError(f'sentence {sent_id} is empty ({key!r}); leave it out or write it anew')
        if len(text) > MAX_SENTENCE_CHARACTERS or not is_text(text):
            raise ReferError(
                f'sentence {sent_id} ({key!r}) is not text of at most {MAX_SENTENCE_CHARACTERS} characters; write it '
                'anew'
            )
    return Sentence(sent_id, record['sent'], record['raw'])


def _make_images(annotations: Annotations, root: Path, dataset: str) -> dict[int, Image]:
    pictures = annotations.pictures
    first_name = next(iter(pictures.values()))[0]
    folder = str(find_images(root, dataset, first_name))
    return {
        image_id: Image(image_id, os.path.join(folder, pictures[image_id][0]), *pictures[image_id][1:])
        for image_id in dict.fromkeys(ref.image_id for ref in annotations.refs)
    }


def find_images(root: Path, dataset: str, first_name: str) -> Path:
    """The usual folder that holds the first picture; if none does, the first one that exists (a missing picture is
    named when opened).

    Raises:
        ReferError: none of the usual folders exists.
    """
    folders = [root / folder for folder in (REFCLEF_FOLDERS if dataset == 'refclef' else IMAGE_FOLDERS)]
    existing = [folder for folder in folders if folder.is_dir()]
    if not existing:
        raise ReferError(
            f'no image folder: looked for {", ".join(map(str, folders))}; put or link the pictures into one of them'
        )
    return next((folder for folder in existing if (folder / first_name).is_file()), existing[0])


def _warn_of_dropped_parts(dropped: dict[int, int], path: Path) -> None:
    if dropped:
        examples = ', '.join(map(str, list(dropped)[:5]))
        warnings.warn(
            f'{path}: dropped {sum(dropped.values())} degenerate polygon parts of {len(dropped)} annotations '
            f'(such as {examples}); their other parts are used',
            ReferWarning,
            stacklevel=3,
        )


def _warn_of_counts(counts: dict[str, tuple[int, int, int]], dataset: str, split_by: str, path: Path) -> None:
    differences = compare_counts(counts, dataset, split_by)
    if differences:
        warnings.warn(f'{path} is not the published set: {"; ".join(differences)}', ReferWarning, stacklevel=3)
