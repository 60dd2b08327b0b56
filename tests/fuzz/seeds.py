"""Small sound sets in REFER's format, from which the fuzz run makes broken ones."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

HEIGHT, WIDTH = 40, 60


def make_refs() -> list[dict[str, Any]]:
    """Five refs of two pictures; two share an annotation, one sentence is not ASCII."""
    texts = [
        ('left zebra', 'the striped one'),
        ('tree',),
        ('red car', 'café on wheels'),
        ('car on the right',),
        ('brick', 'block', 'cube'),
    ]
    places = [(100, 7), (101, 7), (102, 8), (102, 8), (103, 8)]
    return [
        dict(
            ref_id=number,
            ann_id=ann_id,
            image_id=image_id,
            category_id=1,
            split=('train', 'val', 'testA', 'testB', 'train')[number],
            file_name=f'COCO_train2014_{image_id:012d}_{ann_id}.jpg',
            sent_ids=[10 * number + place for place in range(len(sentences))],
            sentences=[
                dict(tokens=text.split(), raw=text.title(), sent=text, sent_id=10 * number + place)
                for place, text in enumerate(sentences)
            ],
        )
        for number, (sentences, (ann_id, image_id)) in enumerate(zip(texts, places))
    ]


def make_instances() -> dict[str, Any]:
    """Every form of segmentation: one polygon, two, a compressed RLE, a list of RLEs of which one is not compressed."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order='F')
    mask[30:38, 40:55] = 1
    compressed = dict(size=[HEIGHT, WIDTH], counts=coco_mask.encode(mask)['counts'].decode())
    square = [10.0, 5.0, 30.0, 5.0, 30.0, 25.0, 10.0, 25.0]
    forms = [
        [square],
        [square, [40, 30, 50, 30, 50, 38]],
        compressed,
        [compressed, dict(size=[HEIGHT, WIDTH], counts=[400, 30, 1970])],
    ]
    return dict(
        images=[dict(id=key, file_name=f'COCO_train2014_{key:012d}.jpg', height=HEIGHT, width=WIDTH) for key in (7, 8)],
        annotations=[
            dict(id=100 + place, image_id=7 if place < 2 else 8, category_id=1, segmentation=form)
            for place, form in enumerate(forms)
        ],
        categories=[dict(id=1, name='thing')],
    )


REFS, INSTANCES = make_refs(), make_instances()
# Python 2's own pickle of a set like this is protocol 2, and protocol 0 where nobody chose; REFER's files are of both
# kinds of strings
PICKLES = [pickle.dumps(REFS, protocol=protocol) for protocol in range(6)]
JSON = json.dumps(INSTANCES).encode()
