"""Reader of COCO's instances.json: the pictures and objects that refs name, each checked when it is asked for."""

from __future__ import annotations

import json
from collections.abc import Container
from pathlib import Path
from typing import Any

from cmmasksd.datasets.refer.errors import ErrorHandler, ReferError, located
from cmmasksd.datasets.refer.fields import check_file_name, check_image_size, read_field, read_name
from cmmasksd.datasets.refer.plain_values import describe_other_file
from cmmasksd.datasets.refer.segmentation import Segmentation, clean_segmentation


class Instances:
    """Pictures and annotations of one instances.json by id. Those that are not wanted are not looked into.

    Args:
        path: the file.
        image_ids: the pictures that are wanted.
        ann_ids: the annotations that are wanted.
        on_error: is given the errors of single records, which are then left out; by default the first one is raised.

    Attributes:
        dropped: how many degenerate polygon parts each annotation lost, by its id; only of those asked for by
            ``segmentation``.

    Raises:
        ReferError: no JSON, no such lists, records without an id, a wanted id that is there twice.
    """

    def __init__(
        self, path: Path, image_ids: Container[int], ann_ids: Container[int], on_error: ErrorHandler | None = None
    ) -> None:
        self.path = path
        self._on_error = on_error
        content = _read_json(path, ann_ids)
        self._images = self._pick(content, 'images', image_ids)
        self._annotations = self._pick(content, 'annotations', ann_ids)
        # refs may share a picture and an annotation: each is checked once
        self._checked_images: dict[int, tuple[str, int, int]] = {}
        self._segmentations: dict[int, Segmentation] = {}
        self.dropped: dict[int, int] = {}

    def image(self, image_id: int) -> tuple[str, int, int]:
        """(file_name, height, width) of one picture; the name is one without folders."""
        if image_id in self._checked_images:
            return self._checked_images[image_id]
        record = self._images.get(image_id)
        if record is None:
            raise ReferError(f'its image {image_id} is not in {self.path}; the two files belong to different sets')
        with located(f'image {image_id} of {self.path}'):
            name, height, width = (
                read_name(record, 'file_name'),
                read_field(record, 'height', int),
                read_field(record, 'width', int),
            )
            check_file_name(name)
            check_image_size(height, width)
        self._checked_images[image_id] = (name, height, width)
        return name, height, width

    def segmentation(self, ann_id: int, image_id: int) -> Segmentation:
        """Polygons, without degenerate parts, or RLE of one annotation, which must belong to that picture."""
        annotation = self._annotations.get(ann_id)
        if annotation is None:
            raise ReferError(f'its annotation {ann_id} is not in {self.path}; the two files belong to different sets')
        with located(f'annotation {ann_id} of {self.path}'):
            owner = read_field(annotation, 'image_id', int)
            if owner != image_id:
                raise ReferError(
                    f'it belongs to image {owner}, but the ref that names it to image {image_id}; correct one of the '
                    'two'
                )
            if ann_id not in self._segmentations:
                _, height, width = self.image(image_id)
                cleaned, dropped = clean_segmentation(annotation.get('segmentation'), height, width)
                self._segmentations[ann_id] = cleaned
                if dropped:
                    self.dropped[ann_id] = dropped
        return self._segmentations[ann_id]

    def objects(self) -> dict[int, list[Segmentation]]:
        """The segmentations of the wanted annotations of each wanted picture, crowds apart, in the file's order."""
        found: dict[int, list[Segmentation]] = {}
        for ann_id, annotation in self._annotations.items():
            with located(f'annotation {ann_id} of {self.path}'):
                image_id = read_field(annotation, 'image_id', int)
            if image_id in self._images and not annotation.get('iscrowd'):
                found.setdefault(image_id, []).append(self.segmentation(ann_id, image_id))
        return found

    def _pick(self, content: dict[str, Any], section: str, wanted: Container[int]) -> dict[int, dict[str, Any]]:
        records = content.get(section)
        if not isinstance(records, list):
            raise ReferError(f'{self.path} has no list {section!r}: it is not an instances.json of COCO')
        picked: dict[int, dict[str, Any]] = {}
        for index, record in enumerate(records):
            if isinstance(record, dict) and type(record.get('id')) is int and record['id'] not in picked:
                if record['id'] in wanted:
                    picked[record['id']] = record
                continue
            with located(f'{self.path}, {section}[{index}]', self._on_error):
                raise ReferError(f'id {read_field(record, "id", int)} is there twice; keep one of the two')
        return picked


def _read_json(path: Path, ann_ids: Container[int]) -> dict[str, Any]:
    """The file's content; annotations that are not wanted lose their segmentation as they are read, which halves the
    memory for RefCOCO.
    """
    content = path.read_bytes()
    if not content:
        raise ReferError(f'{path} is empty; get it anew')

    def forget_unwanted(record: dict[str, Any]) -> dict[str, Any]:
        if 'segmentation' in record and type(record.get('id')) is int and record['id'] not in ann_ids:
            del record['segmentation']
        return record

    try:
        instances = json.loads(content, object_hook=forget_unwanted)
    except (ValueError, RecursionError) as error:
        other = '' if content[:1] in b'[{' else describe_other_file(content)
        if other:
            raise ReferError(f'{path} {other}') from error
        if isinstance(error, UnicodeDecodeError):
            raise ReferError(f'{path} is not UTF-8 text (at byte {error.start}); save it as UTF-8') from error
        raise ReferError(f'{path} is not valid JSON ({error}); it may be cut off: get it anew') from error
    if not isinstance(instances, dict):
        raise ReferError(f"{path} must hold a dict with 'images' and 'annotations', not {type(instances).__name__}")
    return instances
