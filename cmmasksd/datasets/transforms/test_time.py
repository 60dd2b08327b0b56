"""Test-time augmentation: the pipeline that shows a picture several ways."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

AFTER_FLIP = ('LetterboxResize', 'TokenizeExpressions')


def with_test_time_augmentation(
    pipeline: Sequence[dict[str, Any]], flip: bool = True, scales: Sequence[float] = (1.0,)
) -> list[dict[str, Any]]:
    """The ``tta_pipeline`` of a test pipeline: mmcv's ``TestTimeAug`` over flips and scales.

    Args:
        pipeline: configs of an evaluation's transforms, with the letterbox, the tokens and the packing; not changed.
        flip: show each picture mirrored too, with left and right swapped in its sentences.
        scales: shares of the input that the picture fills; see
            :class:`~cmmasksd.datasets.transforms.LetterboxResize`.

    Returns:
        Its configs. Of each picture it gives lists of ``inputs`` and ``data_samples``, first as it is, then mirrored,
        each at all scales in their order.

    Raises:
        ValueError: the pipeline holds TestTimeAug already, or no letterbox; or no scale.
    """
    kinds = [str(step['type']).rsplit('.')[-1] for step in pipeline]
    if 'TestTimeAug' in kinds or 'LetterboxResize' not in kinds:
        raise ValueError(
            f'Test-time augmentation needs a pipeline with LetterboxResize and without TestTimeAug, got {kinds}: set '
            'tta_pipeline in the config.'
        )
    if not scales:
        raise ValueError('Test-time augmentation needs at least one scale.')
    start = min(kinds.index(kind) for kind in AFTER_FLIP if kind in kinds)
    views: list[list[dict[str, Any]]] = [
        [dict(type='FlipWithSentence', prob=prob) for prob in ((0, 1) if flip else (0,))]
    ]
    for kind, step in zip(kinds[start:], copy.deepcopy(list(pipeline[start:]))):
        views.append([{**step, 'scale': scale} for scale in scales] if kind == 'LetterboxResize' else [step])
    return [*copy.deepcopy(list(pipeline[:start])), dict(type='mmcv.TestTimeAug', transforms=views)]
