"""What is asked, and the right answers: a split of a set in REFER's format, or of gRefCOCO."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmmasksd.datasets.refer import ReferError, decode_mask, load_refer
from cmmasksd.datasets.refer.errors import located
from cmmasksd.datasets.refer.fields import read_field, read_name
from cmmasksd.datasets.refer.instances import Instances
from cmmasksd.datasets.refer.reader import IMAGE_FOLDERS, make_sentence
from cmmasksd.datasets.refer.records import count_splits, no_split
from cmmasksd.datasets.refer.segmentation import Segmentation

NO_TARGET = [-1]  # the ann_id of an expression that nothing in the picture fits, as gRefCOCO writes it


@dataclass(frozen=True)
class Question:
    """An expression of a picture.

    Attributes:
        sent_id: of the expression.
        ref_id: of the ref that it belongs to.
        image: file name of the picture, without folders.
        path: of the picture.
        texts: the expression, as cleaned and as typed.
        size: (height, width) of the picture.
        segmentations: of the objects meant: one in RefCOCO, none or several in gRefCOCO.
        is_first: whether it is the first one of its ref.
    """

    sent_id: int
    ref_id: int
    image: str
    path: str
    texts: tuple[str, str]
    size: tuple[int, int]
    segmentations: tuple[Segmentation, ...]
    is_first: bool

    def mask(self) -> NDArray[np.bool_]:
        """(height, width) bool: all objects meant, together."""
        whole = np.zeros(self.size, bool)
        for segmentation in self.segmentations:
            whole |= decode_mask(segmentation, *self.size, name=f'sentence {self.sent_id}')
        return whole


def read_questions(root: str, dataset: str, split_by: str, split: str) -> list[Question]:
    """The expressions of a split.

    Args:
        root: folder that holds ``<dataset>/``.
        dataset: folder name of the annotations, such as ``refcoco`` or ``grefcoco``.
        split_by: the part in brackets of ``refs(<split_by>).p`` or ``grefs(<split_by>).json``.
        split: such as ``val``.

    Raises:
        ReferError: missing files, a record that cannot be used, or no such split.
    """
    folder = Path(root).expanduser() / dataset
    generalised = folder / f'grefs({split_by}).json'
    if generalised.is_file():
        return list(_read_generalised(generalised, folder / 'instances.json', dataset, split_by, split))
    data = load_refer(root, dataset, split_by, split)
    questions = []
    for ref in data.refs:
        image = data.images[ref.image_id]
        for number, sentence in enumerate(ref.sentences):
            ids, texts = (sentence.sent_id, ref.ref_id), (sentence.sent, sentence.raw)
            size = (image.height, image.width)
            names = (Path(image.path).name, image.path)
            questions.append(Question(*ids, *names, texts, size, (ref.segmentation,), number == 0))
    return questions


def _read_generalised(refs: Path, instances: Path, dataset: str, split_by: str, split: str) -> Iterator[Question]:
    """gRefCOCO's expressions (Liu et al., CVPR 2023): REFER's records as JSON, with lists of annotations."""
    records = json.loads(refs.read_text(encoding='utf-8'))
    if not isinstance(records, list) or not records:
        raise ReferError(f'{refs} holds no refs: a list of at least one record is expected')
    with located(str(refs)):
        splits = [read_name(record, 'split') for record in records]
    if split not in splits:
        counts = count_splits((each, 0, 1) for each in splits)
        raise no_split(split, counts, str(refs.parents[1]), dataset, split_by)
    chosen = [record for record, own in zip(records, splits, strict=True) if own == split]
    wanted = {number for record in chosen for number in _annotations(record)}
    root = refs.parents[1]
    pictures = next((root / each for each in IMAGE_FOLDERS if (root / each).is_dir()), root / IMAGE_FOLDERS[0])
    source = Instances(instances, {record.get('image_id') for record in chosen}, wanted)
    for record in chosen:
        with located(f'{refs}, ref {record.get("ref_id")}'):
            image_id, ref_id = read_field(record, 'image_id', int), read_field(record, 'ref_id', int)
            name, height, width = source.image(image_id)
            segmentations = tuple(source.segmentation(number, image_id) for number in _annotations(record))
            for number, each in enumerate(read_field(record, 'sentences', list)):
                sentence = make_sentence(each)
                texts = (sentence.sent, sentence.raw)
                yield Question(
                    sentence.sent_id,
                    ref_id,
                    Path(name).name,
                    str(pictures / name),
                    texts,
                    (height, width),
                    segmentations,
                    is_first=number == 0,
                )


def _annotations(record: dict[str, Any]) -> list[int]:
    ids = record.get('ann_id')
    ids = ids if isinstance(ids, list) else [ids]
    return [] if ids == NO_TARGET else ids
