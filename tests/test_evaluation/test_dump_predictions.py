"""Predictions in a file are those that were scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from cmmasksd.evaluation import DumpPredictions
from cmmasksd.scoring import read_predictions


def sample(masks: np.ndarray, ids: list[int]) -> dict:
    return dict(
        predictions=dict(masks=torch.from_numpy(masks)), expressions=dict(sent_ids=torch.tensor(ids)), img_path='a.jpg'
    )


def test_each_expression_has_a_line(tmp_path: Path) -> None:
    masks = np.random.default_rng(0).random((3, 7, 9)) < 0.5
    masks[1] = False
    file = tmp_path / 'new' / 'a.jsonl'
    metric = DumpPredictions(str(file))
    metric.process(None, [sample(masks[:2], [4, 5]), sample(masks[2:], [9])])
    assert metric.evaluate(2) == {}
    found = list(read_predictions(file))
    assert [each.sent_id for each in found] == [4, 5, 9]
    assert np.array_equal(np.stack([each.mask((7, 9)) for each in found]), masks)


def test_a_file_is_begun_anew_or_added_to(tmp_path: Path) -> None:
    file = tmp_path / 'a.jsonl'
    for append, number in ((False, 1), (False, 1), (True, 2)):
        metric = DumpPredictions(str(file), append=append)
        metric.process(None, [sample(np.ones((1, 2, 2), bool), [7])])
        metric.evaluate(1)
        assert len(file.read_text().splitlines()) == number
