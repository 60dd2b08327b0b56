"""Joins the rows of a table that mean the same object, divides pictures among splits, and writes REFER's records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from pycocotools import mask as coco_mask

from cmmasksd.datasets.custom.sources import Mask, Picture
from cmmasksd.datasets.custom.table import Row
from cmmasksd.datasets.refer.errors import ReferError
from cmmasksd.datasets.refer.files import Record, make_ref_record


@dataclass
class Thing:
    """One object of a picture: where it was named first, and its sentences in each split."""

    line: int
    picture: Picture
    mask: Mask
    sentences: dict[str, list[str]] = field(default_factory=dict)


class Objects:
    """The objects of a table, in the order of their first rows.

    Rows of one picture are about one object if their ``object_id`` is equal or, where none is given, every pixel of
    their masks.
    """

    def __init__(self) -> None:
        self._things: dict[tuple, Thing] = {}

    def add(self, row: Row, picture: Picture, mask: Mask) -> None:
        """Adds a row's sentences to its object; raises ReferError where the same ``object_id`` has another mask
        already.
        """
        key = (picture.digest, 'id', row.object_id) if row.object_id else (picture.digest, 'mask', mask.code)
        thing = self._things.setdefault(key, Thing(row.line, picture, mask))
        if thing.mask.code != mask.code:
            raise ReferError(
                f'its object_id {row.object_id!r} has another mask in line {thing.line}; give each object of a '
                'picture one mask'
            )
        thing.sentences.setdefault(row.split, []).extend(row.sentences)

    @property
    def pictures(self) -> list[Picture]:
        """Those with objects, in order, each once."""
        pictures: dict[str, Picture] = {}
        for thing in self._things.values():
            pictures.setdefault(thing.picture.digest, thing.picture)
        return list(pictures.values())

    @property
    def dropped(self) -> int:
        """Degenerate polygon parts that were left out."""
        return sum(thing.mask.dropped for thing in self._things.values())

    def in_several_splits(self) -> list[Picture]:
        """Pictures whose objects are in more than one split."""
        splits: dict[str, set[str]] = {}
        for thing in self._things.values():
            splits.setdefault(thing.picture.digest, set()).update(thing.sentences)
        return [picture for picture in self.pictures if len(splits[picture.digest]) > 1]

    def divide(self, val_fraction: float, seed: int) -> None:
        """Puts whole pictures, drawn at random, into ``val`` and the others into ``train``; of two or more at least
        one into each.
        """
        pictures = self.pictures
        number = min(max(1, round(val_fraction * len(pictures))), len(pictures) - 1) if val_fraction > 0 else 0
        chosen = {pictures[index].digest for index in np.random.default_rng(seed).permutation(len(pictures))[:number]}
        for thing in self._things.values():
            split = 'val' if thing.picture.digest in chosen else 'train'
            thing.sentences = {split: [sentence for sentences in thing.sentences.values() for sentence in sentences]}

    def records(self, file_names: dict[str, str]) -> tuple[Record, list[Record]]:
        """(the content of ``instances.json``, the list of refs); ``file_names`` gives the name of a picture by its
        digest.
        """
        images: dict[str, Record] = {}
        for number, picture in enumerate(self.pictures, start=1):
            size = {'height': picture.height, 'width': picture.width}
            images[picture.digest] = {
                'id': number,
                'file_name': file_names[picture.digest],
                **size,
                'source': picture.path.name,
            }
        annotations, refs, next_sentence = [], list[Record](), 0
        for number, thing in enumerate(self._things.values(), start=1):
            image = images[thing.picture.digest]
            annotations.append(_make_annotation(number, image['id'], thing.mask, thing.picture))
            for split, sentences in thing.sentences.items():
                refs.append(
                    make_ref_record(len(refs), annotations[-1], image, split, list(_with_raw(sentences)), next_sentence)
                )
                next_sentence += len(sentences)
        categories = [{'id': 1, 'name': 'object', 'supercategory': 'object'}]
        return {'images': list(images.values()), 'annotations': annotations, 'categories': categories}, refs


def _make_annotation(ann_id: int, image_id: int, mask: Mask, picture: Picture) -> Record:
    code = {'size': [picture.height, picture.width], 'counts': mask.code}
    numbers = {'area': int(coco_mask.area(code)), 'bbox': coco_mask.toBbox(code).tolist(), 'iscrowd': 0}
    return {'id': ann_id, 'image_id': image_id, 'category_id': 1, 'segmentation': mask.segmentation, **numbers}


def _with_raw(sentences: Iterable[str]) -> Iterable[tuple[str, str]]:
    """(sent, raw): as REFER has it, ``sent`` is the cleaned form; here white space alone is cleaned, CLIP's tokenizer
    does the rest.
    """
    return ((' '.join(sentence.split()), sentence) for sentence in sentences)
