"""A judgement of each answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from cmmasksd.scoring import Answer, Question

RIGHT, ELSEWHERE = 0.5, 0.1  # IoU
VERDICTS = {
    'right': f'IoU above {RIGHT:g}',
    'partly': f'IoU from {ELSEWHERE:g} to {RIGHT:g}',
    'elsewhere': f'IoU below {ELSEWHERE:g}: another object, or none',
    'nothing': 'an empty mask',
}


@dataclass(frozen=True)
class Judgement:
    """What became of an expression.

    Attributes:
        question: the expression.
        iou: of prediction and ground truth; 1 where both are empty.
        over: wrongly covered area over the union.
        under: missed area over the union. With the IoU they make 1.
        size: share of the picture that the object takes.
        empty: whether the prediction covers nothing.
    """

    question: Question
    iou: float
    over: float
    under: float
    size: float
    empty: bool

    @property
    def verdict(self) -> str:
        """A key of ``VERDICTS``."""
        if self.iou > RIGHT:
            return 'right'
        if self.empty:
            return 'nothing'
        return 'partly' if self.iou >= ELSEWHERE else 'elsewhere'

    @property
    def sentence(self) -> str:
        """As cleaned."""
        return self.question.texts[0]


def judge(answers: Iterable[Answer]) -> list[Judgement]:
    """Judges answers one after the other; their masks are not kept."""
    return [_judge(answer) for answer in answers]


def _judge(answer: Answer) -> Judgement:
    prediction, truth = answer.prediction, answer.truth
    hit, over, under = (
        int(np.count_nonzero(part)) for part in (prediction & truth, prediction & ~truth, truth & ~prediction)
    )
    union = hit + over + under
    shares = (hit / union, over / union, under / union) if union else (1.0, 0.0, 0.0)
    return Judgement(answer.question, *shares, size=(hit + under) / truth.size, empty=hit + over == 0)
