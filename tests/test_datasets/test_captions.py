"""Captions of cut-outs and of whole pictures, out of a set in REFER's format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cmmasksd.datasets import RefCOCODataset
from cmmasksd.datasets.captions import Caption, CaptionedPictures, CaptionLoader, distinct_batches
from cmmasksd.datasets.refer.records import Image
from cmmasksd.datasets.refer.segmentation import decode_mask
from cmmasksd.datasets.refshapes import make_refshapes


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('captions')
    make_refshapes(folder, num_images=20, seed=1, num_workers=1)
    return folder


def records(root: Path) -> list[dict]:
    dataset = RefCOCODataset(str(root), 'refshapes', 'unc', 'train')
    return [dataset.get_data_info(index) for index in range(len(dataset))]


def test_a_cut_out_holds_its_object_and_goes_with_one_of_its_sentences(root: Path) -> None:
    drawn = CaptionedPictures(str(root), 'refshapes', 'unc', 'train').draw(0.0, np.random.default_rng(0))
    every = records(root)
    assert len(drawn) == len(every)
    for caption in drawn:
        top, left, bottom, right = caption.window
        assert 0 <= top < bottom <= caption.image.height and 0 <= left < right <= caption.image.width
        held = []
        for record in every:
            (ref,) = record['refs']
            if record['img_id'] == caption.image.image_id and caption.text in ref['sentences']:
                mask = decode_mask(ref['segmentation'], record['height'], record['width'], 'ref')
                held.append(mask[top:bottom, left:right].sum() / mask.sum())
        assert max(held) > 0.99


def test_a_whole_picture_goes_with_sentences_of_several_objects(root: Path) -> None:
    drawn = CaptionedPictures(str(root), 'refshapes', 'unc', 'train').draw(1.0, np.random.default_rng(0))
    assert {caption.window for caption in drawn} == {None}
    assert {1, 2} <= {caption.text.count(', ') for caption in drawn} <= {0, 1, 2}


def test_draws_follow_the_generator_alone(root: Path) -> None:
    one, other = (CaptionedPictures(str(root), 'refshapes', 'unc', 'train') for _ in range(2))
    first = one.draw(0.5, np.random.default_rng(3))
    one.draw(0.5, np.random.default_rng(4))
    assert other.draw(0.5, np.random.default_rng(3)) == first == one.draw(0.5, np.random.default_rng(3))
    assert other.draw(0.5, np.random.default_rng(4)) != first


def test_nothing_is_said_twice_in_a_batch() -> None:
    images = [Image(number, f'{number}.jpg', 10, 10) for number in range(3)]
    window = (0, 0, 5, 5)
    captions = [
        Caption(images[0], window, 'red'),
        Caption(images[1], window, 'red'),  # said already: goes into the next batch
        Caption(images[0], None, 'red, blue'),
        Caption(images[0], None, 'blue, red'),  # the picture is there already
        Caption(images[2], window, 'green'),
    ]
    assert distinct_batches(captions, 2) == [[captions[0], captions[2]], [captions[1], captions[3]]]
    assert distinct_batches(captions, 3) == [[captions[0], captions[2], captions[4]]]
    assert distinct_batches(captions, 4) == []


def test_a_batch_is_as_the_towers_take_it(root: Path) -> None:
    pictures = CaptionedPictures(str(root), 'refshapes', 'unc', 'train')
    (batch, *_) = batches = distinct_batches(pictures.draw(0.5, np.random.default_rng(0)), 4)
    loader = CaptionLoader(batches, (32, 48), 17)
    images, ids = loader[0]
    assert (images.shape, images.dtype, ids.shape) == ((4, 3, 32, 48), np.uint8, (4, 17))
    assert (ids[:, 0] == 49406).all() and len({tuple(row) for row in ids.tolist()}) == len(batch)
