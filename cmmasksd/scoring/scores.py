"""Predictions against the right answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cmmasksd.evaluation.dense_crf import DenseCRF, read_stored
from cmmasksd.scoring.predictions import Prediction, PredictionError
from cmmasksd.scoring.protocols import Protocol
from cmmasksd.scoring.truth import Question

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Answer:
    """A question with its two masks, (height, width) bool."""

    question: Question
    prediction: Mask
    truth: Mask


def answer_questions(
    questions: Sequence[Question], predictions: Mapping[int, Prediction], missing_is_wrong: bool = False
) -> Iterator[Answer]:
    """Brings questions and predictions together, one after the other, which bounds the memory.

    Args:
        questions: all of the split.
        predictions: by ``sent_id``.
        missing_is_wrong: an expression without a prediction is answered by an empty mask; else it is an error.

    Raises:
        PredictionError: expressions without a prediction, or a mask that does not fit its picture.
    """
    missing = [question for question in questions if question.sent_id not in predictions]
    if missing and not missing_is_wrong:
        first = missing[0]
        raise PredictionError(
            f'{len(missing)} of {len(questions)} expressions have no prediction (the first is sentence '
            f'{first.sent_id}, {first.texts[0]!r} of {first.image}): add them, or count them as empty masks with '
            '--missing wrong'
        )
    for question in questions:
        found = predictions.get(question.sent_id)
        yield Answer(
            question, np.zeros(question.size, bool) if found is None else found.mask(question.size), question.mask()
        )


def refine(answers: Iterator[Answer]) -> Iterator[Answer]:
    """Answers whose masks DenseCRF has refined by the colours of their pictures.

    Raises:
        ModuleNotFoundError: pydensecrf2 is not installed.
        FileNotFoundError: a picture is not there.
    """
    crf = DenseCRF()
    for answer in answers:
        prediction = crf.refine_mask(read_stored(answer.question.path), answer.prediction)
        yield Answer(answer.question, prediction, answer.truth)


def score(answers: Iterator[Answer], protocol: Protocol) -> dict[str, float]:
    """The scores of a protocol, in percent, and ``num_expressions``."""
    counts = np.array([_count(answer, protocol) for answer in answers], dtype=np.int64).reshape(-1, 4)
    return {**protocol.compute(counts), 'num_expressions': len(counts)}


def _count(answer: Answer, protocol: Protocol) -> tuple[int, int, int, int]:
    prediction, truth = (_resize(mask, protocol.size) for mask in (answer.prediction, answer.truth))
    areas = int(np.count_nonzero(prediction)), int(np.count_nonzero(truth))
    return int(np.count_nonzero(prediction & truth)), int(np.count_nonzero(prediction | truth)), *areas


def _resize(mask: Mask, size: tuple[int, int] | None) -> Mask:
    if size is None:
        return mask
    return cv2.resize(mask.view(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT).view(bool)
