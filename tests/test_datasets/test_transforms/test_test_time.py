"""The pipeline that shows a picture several ways."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from cmmasksd.datasets.transforms import build_pipeline, with_test_time_augmentation
from cmmasksd.structures import Letterbox

IMAGE = np.random.default_rng(0).integers(0, 255, (40, 61, 3), dtype=np.uint8)
PIPELINE: list[dict[str, Any]] = [
    dict(type='LoadReferringImage'),
    dict(type='LetterboxResize', size=(64, 64), resize_masks=False),
    dict(type='TokenizeExpressions', token_length=9),
    dict(type='PackReferringInputs'),
]


def views_of(pipeline: list[dict[str, Any]]) -> dict[str, Any]:
    results: Any = dict(img=IMAGE, texts=['left one'], rng=np.random.default_rng(0))
    for step in build_pipeline(pipeline):
        results = step(results)
    return results


def test_each_view_with_its_words() -> None:
    before = copy.deepcopy(PIPELINE)
    views = views_of(with_test_time_augmentation(PIPELINE, scales=(1.0, 0.5)))
    assert before == PIPELINE
    assert [sample.flip for sample in views['data_samples']] == [False, False, True, True]
    assert [sample.expressions.texts for sample in views['data_samples']] == [['left one']] * 2 + [['right one']] * 2
    assert len({tuple(sample.expressions.input_ids[0].tolist()) for sample in views['data_samples']}) == 2
    assert [sample.letterbox.scaled for sample in views['data_samples']] == [(42, 64), (21, 32)] * 2
    plain, mirrored = (views['inputs'][place].permute(1, 2, 0).numpy() for place in (0, 2))
    window = Letterbox.fit((40, 61), (64, 64)).window
    assert np.abs(plain[window].astype(int) - mirrored[window][:, ::-1]).max() <= 1


def test_tokens_before_the_letterbox_come_after_the_flip_too() -> None:
    loading, letterbox, tokens, packing = PIPELINE
    views = views_of(with_test_time_augmentation([loading, tokens, letterbox, packing]))
    assert [sample.expressions.texts for sample in views['data_samples']] == [['left one'], ['right one']]


def test_scales_alone() -> None:
    views = views_of(with_test_time_augmentation(PIPELINE, flip=False, scales=(0.5, 0.75, 1.0)))
    assert [sample.flip for sample in views['data_samples']] == [False] * 3


@pytest.mark.parametrize(
    ('pipeline', 'scales', 'message'),
    [
        (PIPELINE[:1], (1.0,), 'with LetterboxResize'),
        ([*PIPELINE, dict(type='mmcv.TestTimeAug', transforms=[])], (1.0,), 'without TestTimeAug'),
        (PIPELINE, (), 'at least one scale'),
    ],
)
def test_pipelines_that_cannot_be(pipeline: list[dict[str, Any]], scales: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_test_time_augmentation(pipeline, scales=scales)
