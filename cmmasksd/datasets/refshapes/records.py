"""RefShapes in REFER's own records: COCO's ``instances.json`` and the list of refs.

The records of a picture come first without ids, from whichever process made it; :func:`number_records` then numbers all
of them in the order of the pictures. So a set is a function of its parameters alone, and the first pictures of a longer
set are those of a shorter one.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from cmmasksd.datasets.refer.files import Record, make_ref_record
from cmmasksd.datasets.refshapes.scenes import KINDS, Scene
from cmmasksd.datasets.refshapes.viewing import CLEAR_SHARE, SUPERSAMPLING, View

_RLE_SHARE = 0.04  # of the annotations that are written as RLE though polygons would do
_AGREEMENT = 0.95  # least IoU of the polygons, decoded, and the visible pixels
_SMALLEST_PART = 2.0  # visible parts of fewer square pixels are left out of the polygons
_CATEGORY_IDS = {kind: number for number, kind in enumerate(KINDS, start=1)}


def describe_picture(
    file_name: str, split: str, scene: Scene, view: View, spoken: dict[int, list[Record]], rng: np.random.Generator
) -> Record:
    """The records of one picture, without ids.

    Args:
        file_name: of the picture.
        split: that its refs belong to.
        scene: the picture's content.
        view: the scene as seen.
        spoken: the sentences of each thing spoken of, by the thing's number in the view: ``sent``, and what else shall
            stand in their records.
        rng: draws which annotations are written as RLE.
    """
    annotations = []
    for shape, thing, mask, number in zip(scene.shapes, view.things, view.masks, range(len(scene.shapes))):
        left, top, right, bottom = thing.box
        annotations.append(
            {
                'segmentation': _segment(scene, view, number, rng),
                'area': int(mask.sum()),
                'iscrowd': 0,
                'bbox': [left, top, right - left, bottom - top],
                'category_id': _CATEGORY_IDS[shape.kind],
                'attributes': {
                    'colour': shape.colour,
                    'size': shape.size,
                    'texture': shape.texture,
                    'visible': round(thing.share, 4),
                },
            }
        )
    image = {'file_name': file_name, 'height': scene.height, 'width': scene.width}
    return {'image': image, 'split': split, 'annotations': annotations, 'spoken': list(spoken.items())}


def _segment(scene: Scene, view: View, number: int, rng: np.random.Generator) -> list[list[float]] | Record:
    """The visible part as polygons: the exact outline of a shape in full view, else contours.

    As RLE where polygons would not decode to the visible pixels, above all where the part has a hole, and now and then
    where they would, so that readers meet both.
    """
    as_rle, uncompressed = rng.random() < _RLE_SHARE, rng.random() < 0.5
    contours = [scene.shapes[number].outline] if view.things[number].share == 1 else _contours(view, number)
    polygons = [np.round(contour, 2).ravel().tolist() for contour in contours]
    mask = view.masks[number]
    return _encode(mask, uncompressed) if as_rle or not _agree(polygons, mask) else polygons


def _contours(view: View, number: int) -> list[np.ndarray]:
    """Outlines (P, 2) of the visible parts, in pixels, without their holes."""
    # OpenCV's contours join the middles of border pixels. After a step to the right and down these lie on the corners
    # of the pixels seen.
    seen = cv2.dilate((view.labels == number + 1).astype(np.uint8), np.ones((2, 2), np.uint8), anchor=(1, 1))
    contours, _ = cv2.findContours(seen, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    large = [contour for contour in contours if cv2.contourArea(contour) >= _SMALLEST_PART * SUPERSAMPLING**2]
    return [cv2.approxPolyDP(contour, 1.0, closed=True)[:, 0] / SUPERSAMPLING for contour in large]


def _agree(polygons: list[list[float]], mask: np.ndarray) -> bool:
    """Whether pycocotools decodes the polygons to the (height, width) bool mask, but for single pixels of the
    border.
    """
    decoded = coco_mask.merge(coco_mask.frPyObjects(polygons, *mask.shape))
    encoded = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return bool(coco_mask.iou([decoded], [encoded], [0])[0, 0] > _AGREEMENT)


def _encode(mask: np.ndarray, uncompressed: bool) -> Record:
    """COCO's RLE of a (height, width) bool mask: a string of counts, or a list of them (column by column, background
    first).
    """
    if not uncompressed:
        rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
        return {'size': [int(side) for side in rle['size']], 'counts': rle['counts'].decode('ascii')}
    flat = np.concatenate([[False], mask.ravel(order='F')])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], changes, [mask.size]]))
    return {'size': list(mask.shape), 'counts': counts.tolist()}


def number_records(pictures: Iterable[Record]) -> tuple[Record, list[Record]]:
    """Numbers the records of all pictures and gives (the content of ``instances.json``, the list of refs)."""
    images: list[Record] = []
    annotations: list[Record] = []
    refs: list[Record] = []
    next_sentence = 0
    for image_id, picture in enumerate(pictures, start=1):
        images.append({'id': image_id, **picture['image']})
        first_annotation = len(annotations) + 1
        for offset, annotation in enumerate(picture['annotations']):
            annotations.append({'id': first_annotation + offset, 'image_id': image_id, **annotation})
        for number, sentences in picture['spoken']:
            annotation = annotations[first_annotation + number - 1]
            spoken = [(sentence['sent'], sentence['sent']) for sentence in sentences]
            ref = make_ref_record(len(refs), annotation, picture['image'], picture['split'], spoken, next_sentence)
            for record, sentence in zip(ref['sentences'], sentences, strict=True):
                record.update(sentence)
            refs.append(ref)
            next_sentence += len(sentences)
    categories = [{'id': number, 'name': kind, 'supercategory': 'shape'} for kind, number in _CATEGORY_IDS.items()]
    info = {
        'description': 'RefShapes: synthetic referring expressions; '
        f'shapes are referred to from a visible share of {CLEAR_SHARE}'
    }
    return {'info': info, 'licenses': [], 'images': images, 'annotations': annotations, 'categories': categories}, refs
