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
        hit: pixels of prediction and ground truth.
        wrong: pixels of the prediction alone.
        missed: pixels of the ground truth alone.
    """

    question: Question
    hit: int
    wrong: int
    missed: int

    @property
    def union(self) -> int:
        """Pixels of either."""
        return self.hit + self.wrong + self.missed

    @property
    def iou(self) -> float:
        """Of prediction and ground truth; 1 where both are empty."""
        return self.hit / self.union if self.union else 1.0

    @property
    def over(self) -> float:
        """Wrongly covered area over the union."""
        return self.wrong / max(self.union, 1)

    @property
    def under(self) -> float:
        """Missed area over the union; with the IoU and what is wrongly covered it makes 1."""
        return self.missed / max(self.union, 1)

    @property
    def size(self) -> float:
        """Share of the picture that the object takes."""
        height, width = self.question.size
        return (self.hit + self.missed) / (height * width)

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Intersection, union, predicted and annotated area, of which protocols make scores."""
        return self.hit, self.union, self.hit + self.wrong, self.hit + self.missed

    @property
    def verdict(self) -> str:
        """A key of ``VERDICTS``."""
        if self.iou > RIGHT:
            return 'right'
        if not self.hit + self.wrong:
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
    parts = (prediction & truth, prediction & ~truth, truth & ~prediction)
    return Judgement(answer.question, *(int(np.count_nonzero(part)) for part in parts))
