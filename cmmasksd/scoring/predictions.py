"""Predictions in JSON lines, of whatever model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from cmmasksd.datasets.refer.errors import ReferError
from cmmasksd.datasets.refer.segmentation import Segmentation, clean_segmentation
from cmmasksd.scoring.truth import Question

FORM = (
    '{"sent_id": 7, "segmentation": RLE}, {"image": "a.jpg", "sentence": "left zebra", "segmentation": RLE}, or what '
    '`cmmasksd segment --table` writes'
)


class PredictionError(ValueError):
    """Predictions that cannot be scored; the message names the file and the line, and what is wanted."""


@dataclass(frozen=True)
class Prediction:
    """A predicted mask.

    Attributes:
        place: file and line, for messages.
        sent_id: the expression that it answers, or None:
        image: then the picture's file name, without folders,
        sentence: and the expression.
        segmentation: polygons or a COCO RLE; one that covers nothing is an empty mask.
    """

    place: str
    sent_id: int | None
    image: str | None
    sentence: str | None
    segmentation: Segmentation

    def mask(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """(height, width) bool.

        Raises:
            PredictionError: a malformed segmentation, or one of a picture of another size.
        """
        try:
            cleaned = clean_segmentation(self.segmentation, *size)[0] if self.segmentation else []
        except ReferError as error:
            raise PredictionError(f'{self.place}: {error}') from None
        if not cleaned:
            return np.zeros(size, bool)
        if isinstance(cleaned, list):
            return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(cleaned, *size))).view(bool)
        listed = isinstance(cleaned['counts'], list)
        return coco_mask.decode(coco_mask.frPyObjects(cleaned, *size) if listed else cleaned).view(bool)


def read_predictions(path: Path) -> Iterator[Prediction]:
    """Reads a file of JSON lines: one expression a line, or one picture a line as ``cmmasksd segment --table`` writes.

    Raises:
        PredictionError: a line that is not such an object.
        OSError: the file cannot be read.
    """
    with open(path, encoding='utf-8') as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            place = f'{path}, line {number}'
            try:
                record = json.loads(line)
            except ValueError as error:
                raise PredictionError(f'{place} is not JSON ({error}); a line is {FORM}') from None
            yield from _parse(record, place)


def _parse(record: Any, place: str) -> Iterator[Prediction]:
    if not isinstance(record, dict):
        raise PredictionError(f'{place} is no object; a line is {FORM}')
    image = Path(record['image']).name if isinstance(record.get('image'), str) else None
    objects = record.get('objects')
    if isinstance(objects, list) and image is not None:
        for each in objects:
            if not isinstance(each, dict) or not isinstance(each.get('expression'), str) or 'segmentation' not in each:
                raise PredictionError(f'{place}: an object has "expression" and "segmentation"')
            yield Prediction(place, None, image, each['expression'], each['segmentation'])
        return
    sent_id, sentence = record.get('sent_id'), record.get('sentence')
    if 'segmentation' not in record or not (type(sent_id) is int or (image and isinstance(sentence, str))):
        raise PredictionError(f'{place} does not say which expression it answers, or with what; a line is {FORM}')
    yield Prediction(place, sent_id if type(sent_id) is int else None, image, sentence, record['segmentation'])


def match(predictions: Iterable[Prediction], questions: Iterable[Question]) -> tuple[dict[int, Prediction], int]:
    """Which prediction answers which question.

    A sentence that stands more than once with a picture is answered by one prediction for all.

    Returns:
        The predictions by ``sent_id``, and how many answer no question (of another split, for instance).

    Raises:
        PredictionError: two predictions for one expression.
    """
    by_text: dict[tuple[str, str], set[int]] = {}
    known = set()
    for question in questions:
        known.add(question.sent_id)
        for text in question.texts:
            by_text.setdefault((question.image, text), set()).add(question.sent_id)
    found: dict[int, Prediction] = {}
    others = 0
    for prediction in predictions:
        if prediction.sent_id is not None:
            ids = {prediction.sent_id} & known
        else:
            ids = by_text.get((prediction.image or '', prediction.sentence or ''), set())
        others += not ids
        for sent_id in ids:
            if sent_id in found:
                raise PredictionError(f'{prediction.place} answers sentence {sent_id}, as {found[sent_id].place} does')
            found[sent_id] = prediction
    return found, others
