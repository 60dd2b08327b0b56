"""Which object a mask lies on, by example, and as the metric reports it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cmmasksd.evaluation import ReferringIoUMetric
from cmmasksd.evaluation.localisation import locate


def strip(start: int, end: int) -> np.ndarray:
    """(1, 20) bool, True from ``start`` to ``end``."""
    columns = np.arange(20)
    return ((columns >= start) & (columns < end))[None]


SMALL, LARGE, FAR = strip(0, 2), strip(2, 12), strip(15, 18)


@pytest.mark.parametrize(
    ('prediction', 'right', 'objects', 'located'),
    [
        (strip(0, 2), SMALL, [SMALL, LARGE, FAR], [True]),
        (strip(0, 2), LARGE, [SMALL, LARGE, FAR], [False]),
        # shares three columns with the large one and two with the small one, but is about the small one
        (strip(0, 5), SMALL, [SMALL, LARGE, FAR], [True]),
        (strip(0, 20), LARGE, [SMALL, LARGE, FAR], [True]),
        (strip(0, 0), SMALL, [SMALL, LARGE, FAR], [False]),
        (strip(13, 14), SMALL, [SMALL, LARGE, FAR], [False]),
        # two objects tie
        (strip(0, 20), SMALL, [SMALL, strip(18, 20)], [False]),
        # the same object annotated twice is no rival of itself
        (strip(0, 2), SMALL, [SMALL, SMALL, FAR], [True]),
        # nothing to choose from
        (strip(0, 2), SMALL, [SMALL, SMALL], []),
        (strip(0, 2), SMALL, [SMALL], []),
    ],
)
def test_locate(prediction: np.ndarray, right: np.ndarray, objects: list[np.ndarray], located: list[bool]) -> None:
    found = locate(torch.from_numpy(prediction[None]), [torch.from_numpy(right)], torch.from_numpy(np.stack(objects)))
    assert found == located


def sample(predictions: list[np.ndarray], masks: list[np.ndarray], objects: list[np.ndarray] | None) -> dict:
    content = dict(
        predictions=dict(masks=torch.from_numpy(np.stack(predictions))),
        expressions=dict(masks=torch.from_numpy(np.stack(masks)), ref_ids=torch.arange(len(masks))),
        img_path='a.jpg',
    )
    return content if objects is None else dict(content, objects=dict(masks=torch.from_numpy(np.stack(objects))))


def score(samples: list[dict]) -> float:
    metric = ReferringIoUMetric(localisation=True)
    metric.process(None, samples)
    return metric.evaluate(len(samples))['Loc']


def test_the_objects_are_those_loaded_or_else_the_refs() -> None:
    predictions, masks = [FAR, FAR], [LARGE, FAR]
    assert score([sample(predictions, masks, None)]) == 50
    assert score([sample([SMALL, FAR], masks, None)]) == 50
    # the mask lies in part on the large one, and more on one that nobody speaks of
    leaning = strip(0, 3)
    assert score([sample([leaning, FAR], masks, None)]) == 100
    assert score([sample([leaning, FAR], masks, [SMALL, LARGE, FAR])]) == 50


def test_pictures_with_one_object_are_left_out() -> None:
    lonely = sample([SMALL], [SMALL], None)
    assert math.isnan(score([lonely]))
    assert score([lonely, sample([FAR, SMALL], [FAR, LARGE], None)]) == 50


def test_it_is_asked_for() -> None:
    metric = ReferringIoUMetric()
    metric.process(None, [sample([SMALL], [SMALL], None)])
    assert 'Loc' not in metric.evaluate(1)
