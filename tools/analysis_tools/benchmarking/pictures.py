"""Pictures and annotations that cost a data pipeline what COCO's cost: 640x480 JPEGs of about 160 KB, smooth polygons,
three sentences a ref.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np

DATASET = 'cocolike'
HEIGHT, WIDTH = 480, 640  # of most of COCO's pictures
QUALITY = 95  # with the noise below: 160 KB a picture, COCO train2014's mean
REFS_PER_IMAGE = (2, 3)  # alternating: with three sentences each 7.5 expressions an image; RefCOCO val has 7.2
SENTENCES_PER_REF = 3
POINTS = 40  # of a polygon
WORDS = (
    'the left right top bottom middle man woman boy girl dog zebra chair '
    'in on with behind red blue black white shirt hat standing'
).split()


def make_coco_like(folder: Path, num_images: int, seed: int = 0) -> None:
    """Writes a set in REFER's format: ``<folder>/cocolike/{instances.json, refs(unc).p}`` and ``images/train2014/``.

    Every picture is in the splits ``train`` and ``val`` alike, with refs of its own in each.

    Args:
        folder: made if missing.
        num_images: how many pictures.
        seed: of all draws.
    """
    images, annotations, refs = [], [], []
    (folder / DATASET).mkdir(parents=True, exist_ok=True)
    (folder / 'images/train2014').mkdir(parents=True, exist_ok=True)
    for image_id in range(num_images):
        rng = np.random.default_rng((seed, image_id))
        name = f'cocolike_{image_id:06}.jpg'
        (folder / 'images/train2014' / name).write_bytes(photograph(rng))
        images.append(dict(id=image_id, file_name=name, height=HEIGHT, width=WIDTH))
        for split in ('train', 'val'):
            for _ in range(REFS_PER_IMAGE[image_id % len(REFS_PER_IMAGE)]):
                annotations.append(
                    dict(id=len(annotations), image_id=image_id, category_id=1, iscrowd=0, segmentation=[outline(rng)])
                )
                refs.append(_make_ref(len(refs), image_id, name, split, rng))
    instances = dict(images=images, annotations=annotations, categories=[dict(id=1, name='thing')])
    (folder / DATASET / 'instances.json').write_text(json.dumps(instances))
    (folder / DATASET / 'refs(unc).p').write_bytes(pickle.dumps(refs, protocol=2))


def photograph(rng: np.random.Generator) -> bytes:
    """A JPEG whose detail falls off with frequency as a photograph's does: noise of five octaves, the coarse ones
    strongest, and some grain.
    """
    picture = np.full((HEIGHT, WIDTH, 3), 128, np.float32)
    for octave in range(1, 6):
        size = WIDTH >> octave, HEIGHT >> octave
        noise = rng.standard_normal((size[1], size[0], 3), dtype=np.float32)
        picture += 5 * octave * cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    picture += 4 * rng.standard_normal((HEIGHT, WIDTH, 1), dtype=np.float32)
    encoded = cv2.imencode('.jpg', picture.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    return encoded.tobytes()


def outline(rng: np.random.Generator) -> list[float]:
    """A wobbly round polygon [x1, y1, ...] inside the picture, a few percent of it large."""
    angle = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)
    radius = rng.uniform(40, 110) * (1 + 0.15 * np.sin(3 * angle + rng.uniform(0, 6)) + 0.1 * np.sin(7 * angle))
    x, y = rng.uniform(150, WIDTH - 150), rng.uniform(150, HEIGHT - 150)
    points = np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)
    return points.round(2).ravel().tolist()


def _make_ref(ref_id: int, image_id: int, name: str, split: str, rng: np.random.Generator) -> dict[str, Any]:
    sentences = [' '.join(rng.choice(WORDS, rng.integers(1, 7))) for _ in range(SENTENCES_PER_REF)]
    sent_ids = [SENTENCES_PER_REF * ref_id + place for place in range(SENTENCES_PER_REF)]
    return dict(
        ref_id=ref_id,
        ann_id=ref_id,  # one annotation a ref, made together
        image_id=image_id,
        category_id=1,
        split=split,
        file_name=name,
        sent_ids=sent_ids,
        sentences=[
            dict(tokens=text.split(), raw=text, sent=text, sent_id=number) for text, number in zip(sentences, sent_ids)
        ],
    )
