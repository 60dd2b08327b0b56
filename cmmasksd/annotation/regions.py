"""Masks and their sentences as regions of Label Studio."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmmasksd.annotation.brush import encode_brush
from cmmasksd.annotation.labelling import Labelling

Found = tuple[str, float, NDArray[np.bool_]]  # a sentence, its score, and its mask (height, width)


def make_prediction(answers: Iterable[Found], labelling: Labelling, version: str) -> dict[str, Any]:
    """What Label Studio shows as a model's prediction of a task.

    Args:
        answers: about one picture; empty masks give no region.
        labelling: the project's config.
        version: of the model; tasks are asked again when it changes.
    """
    regions: list[dict[str, Any]] = []
    scores = []
    for sentence, score, mask in answers:
        if mask.any():
            regions += _make_region(sentence, score, mask, labelling)
            scores.append(score)
    return dict(result=regions, score=sum(scores) / len(scores) if scores else 0.0, model_version=version)


def _make_region(sentence: str, score: float, mask: NDArray[np.bool_], labelling: Labelling) -> list[dict[str, Any]]:
    """The mask, and its sentence where the config has a text area for it; else, unless it is the label, as a note."""
    height, width = mask.shape
    common = dict(
        id=uuid.uuid4().hex[:10],
        to_name=labelling.image,
        original_width=width,
        original_height=height,
        image_rotation=0,
        score=score,
    )
    label = labelling.label_of(sentence)
    brush = dict(
        common,
        from_name=labelling.mask,
        type='brushlabels',
        value=dict(format='rle', rle=encode_brush(mask), brushlabels=[label]),
    )
    if labelling.sentence:
        return [brush, dict(common, from_name=labelling.sentence, type='textarea', value=dict(text=[sentence]))]
    return [brush] if label == sentence else [dict(brush, meta=dict(text=[sentence]))]
