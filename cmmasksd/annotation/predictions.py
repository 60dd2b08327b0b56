"""The masks that ``cmmasksd segment --table`` has written, line after line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from cmmasksd.annotation.labelling import LabellingError
from cmmasksd.annotation.regions import Found
from cmmasksd.datasets.refer.errors import ReferError
from cmmasksd.datasets.refer.fields import check_image_size
from cmmasksd.datasets.refer.segmentation import clean_segmentation


@dataclass(frozen=True)
class PictureAnswers:
    """What a model said about one picture.

    Attributes:
        place: file and line, for messages.
        image: the picture's name, as the table has it.
        size: (height, width).
        objects: ``expression``, ``score`` and ``segmentation`` (COCO RLE) of each sentence, and more.
    """

    place: str
    image: str
    size: tuple[int, int]
    objects: list[dict[str, Any]]

    def found(self) -> Iterator[Found]:
        """Sentence, score and mask (height, width) bool, one after another.

        Raises:
            LabellingError: a malformed mask, or one of another size.
        """
        for each in self.objects:
            yield each['expression'], float(each['score'] or 0), self._mask(each['segmentation'])

    def _mask(self, segmentation: Any) -> NDArray[np.bool_]:
        try:
            if not isinstance(segmentation, dict):
                raise ReferError('its segmentation is no RLE')
            rle: dict[str, Any] = clean_segmentation(segmentation, *self.size)[0]  # type: ignore[assignment]
        except ReferError as error:
            raise LabellingError(f'{self.place}: {error}.') from None
        if isinstance(rle['counts'], list):
            rle = coco_mask.frPyObjects(rle, *self.size)
        return coco_mask.decode(rle).view(bool)


def read_predictions(path: str | Path) -> Iterator[PictureAnswers]:
    """Reads a file of predictions, picture after picture.

    Raises:
        LabellingError: a line that ``cmmasksd segment --table`` would not write.
        OSError: the file cannot be read.
    """
    with open(path, encoding='utf-8') as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                place = f'{path}, line {number}'
                try:
                    yield _parse(json.loads(line), place)
                except (ValueError, KeyError, TypeError) as error:
                    raise LabellingError(
                        f'{place} is not what `cmmasksd segment --table` writes ({error}): a line has image, size and '
                        'objects, each with expression, score and segmentation.'
                    ) from None


def _parse(record: Any, place: str) -> PictureAnswers:
    image, size, objects = record['image'], record['size'], record['objects']
    check_image_size(*size)
    if not isinstance(image, str) or not isinstance(objects, list):
        raise TypeError('image is text and objects a list')
    for each in objects:
        if not isinstance(each['expression'], str) or not isinstance(each['score'], (int, float, type(None))):
            raise TypeError('an expression is text and a score a number')
        each['segmentation']
    return PictureAnswers(place, image, (size[0], size[1]), objects)
