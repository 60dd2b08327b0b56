"""The packed sample: shapes and types of the contract with the model."""

import copy
import pickle

import numpy as np
import pytest
import torch

from cmmasksd.datasets.transforms import (
    LetterboxResize,
    LoadReferringImage,
    LoadReferringMasks,
    PackReferringInputs,
    SelectSentences,
    TokenizeExpressions,
)
from cmmasksd.structures import Letterbox

ORIGINAL, SIZE = (50, 80), (64, 64)


def box(x: int) -> list:
    return [[x, 5, x + 20, 5, x + 20, 25, x, 25]]


def record(**extra) -> dict:
    image = np.random.default_rng(0).integers(0, 255, (*ORIGINAL, 3), dtype=np.uint8)
    return dict(
        img=image,
        img_path='a.jpg',
        img_id=4,
        height=ORIGINAL[0],
        width=ORIGINAL[1],
        rng=np.random.default_rng(0),
        **extra,
    )


def annotated() -> dict:
    refs = [
        dict(ref_id=3, ann_id=1, segmentation=box(0), sentences=['one', 'two'], sent_ids=[30, 31]),
        dict(ref_id=1, ann_id=2, segmentation=box(40), sentences=['three'], sent_ids=[10]),
    ]
    return record(refs=refs)


def run(results: dict, *transforms) -> dict:
    for transform in transforms:
        results = transform(results)
    return results


def test_training_sample():
    one_ref = annotated()
    one_ref['refs'] = one_ref['refs'][:1]
    loaded = run(
        one_ref,
        LoadReferringImage(),
        SelectSentences('random'),
        LoadReferringMasks(),
        LetterboxResize(SIZE),
        TokenizeExpressions(17),
    )
    packed = PackReferringInputs()(loaded)
    assert sorted(packed) == ['data_samples', 'inputs']
    assert (
        packed['inputs'].shape == (3, *SIZE)
        and packed['inputs'].dtype == torch.uint8
        and packed['inputs'].is_contiguous()
    )
    assert np.array_equal(packed['inputs'].permute(1, 2, 0).numpy(), loaded['img'])
    expressions = packed['data_samples'].expressions
    assert expressions.masks.shape == (1, *SIZE) and expressions.masks.dtype == torch.float32
    assert expressions.masks.numpy().base is not None and np.shares_memory(expressions.masks.numpy(), loaded['masks'])
    assert expressions.input_ids.shape == (1, 17) and expressions.input_ids.dtype == torch.int64
    assert expressions.ref_ids.tolist() == [3] and expressions.sent_ids.tolist()[0] in (30, 31)


def test_evaluation_sample():
    results = run(
        annotated(),
        LoadReferringImage(),
        SelectSentences('all'),
        LoadReferringMasks(),
        LetterboxResize(SIZE, resize_masks=False),
        TokenizeExpressions(22),
        PackReferringInputs(),
    )
    sample = results['data_samples']
    assert sample.metainfo == dict(
        img_path='a.jpg', img_id=4, ori_shape=ORIGINAL, img_shape=SIZE, letterbox=Letterbox.fit(ORIGINAL, SIZE)
    )
    expressions = sample.expressions
    assert expressions.texts == ['one', 'two', 'three'] and len(expressions) == 3
    assert expressions.masks.shape == (3, *ORIGINAL) and expressions.masks.dtype == torch.bool
    assert torch.equal(expressions.masks[0], expressions.masks[1]) and not torch.equal(
        expressions.masks[0], expressions.masks[2]
    )
    assert expressions.input_ids.shape == (3, 22)
    assert expressions.ref_ids.tolist() == [3, 3, 1] and expressions.sent_ids.tolist() == [30, 31, 10]
    assert expressions.ref_ids.dtype == expressions.sent_ids.dtype == torch.int64


@pytest.mark.parametrize('order', [[0, 1], [1, 0], [1, 1], [1], [0, 1, 0]])
def test_every_expression_gets_the_mask_of_its_ref(order):
    loaded = run(annotated(), LoadReferringImage(), SelectSentences('first'), LoadReferringMasks())
    loaded.update(texts=['a'] * len(order), mask_index=np.array(order))
    del loaded['ref_ids'], loaded['sent_ids']
    results = run(loaded, LetterboxResize(SIZE, False), TokenizeExpressions(17), PackReferringInputs())
    masks = results['data_samples'].expressions.masks
    assert [int(mask.nonzero()[:, 1].min()) for mask in masks] == [40 * ref for ref in order]


def test_a_sample_travels_and_becomes_a_dict():
    sample = run(record(texts=['left']), LetterboxResize(SIZE), TokenizeExpressions(17), PackReferringInputs())[
        'data_samples'
    ]
    for other in (copy.deepcopy(sample), pickle.loads(pickle.dumps(sample))):
        assert other.letterbox == sample.letterbox and torch.equal(
            other.expressions.input_ids, sample.expressions.input_ids
        )
    assert sample.to_dict()['expressions']['texts'] == ['left']


def test_a_picture_without_annotation():
    image = record()['img']
    results = run(
        dict(img=image, texts=['left', 'right']),
        LoadReferringImage(),
        LetterboxResize(SIZE, False),
        TokenizeExpressions(17),
    )
    sample = PackReferringInputs()(results)['data_samples']
    assert sorted(sample.expressions.keys()) == ['input_ids', 'texts']
    assert sorted(sample.metainfo_keys()) == ['img_shape', 'letterbox', 'ori_shape']
    assert sample.ori_shape == ORIGINAL
