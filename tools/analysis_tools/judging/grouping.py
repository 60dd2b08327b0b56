"""Judgements in groups, and what each group comes to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .judgements import RIGHT, Judgement
from .words import KINDS, PLAIN, count_words, kinds_of

LENGTHS = ((1, '1 word'), (2, '2 words'), (3, '3 words'), (5, '4 or 5 words'), (8, '6 to 8 words'))
LONGER = 'more than 8 words'
SIZES = ((0.01, 'below 1 %'), (0.04, '1 to 4 %'), (0.16, '4 to 16 %'))
LARGER = '16 % and more'


@dataclass(frozen=True)
class Group:
    """Some judgements together; shares in percent.

    Attributes:
        name: of the group.
        count: expressions.
        miou: their mean IoU.
        right: share with an IoU above one half.
        over: mean share of the union that is wrongly covered.
        under: mean share of the union that is missed.
    """

    name: str
    count: int
    miou: float
    right: float
    over: float
    under: float


def sum_up(name: str, judgements: Sequence[Judgement]) -> Group:
    """A group of at least one judgement."""
    means = 100 * np.array([[each.iou, each.iou > RIGHT, each.over, each.under] for each in judgements]).mean(axis=0)
    return Group(name, len(judgements), *(float(mean) for mean in means))


def by_length(judgements: Sequence[Judgement]) -> list[Group]:
    """By the sentence's words."""

    def name(each: Judgement) -> list[str]:
        count = count_words(each.sentence)
        return [next((title for most, title in LENGTHS if count <= most), LONGER)]

    return _part(judgements, name, [title for _, title in LENGTHS] + [LONGER])


def by_size(judgements: Sequence[Judgement]) -> list[Group]:
    """By the share of the picture that the object takes."""

    def name(each: Judgement) -> list[str]:
        return [next((title for below, title in SIZES if each.size < below), LARGER)]

    return _part(judgements, name, [title for _, title in SIZES] + [LARGER])


def by_words(judgements: Sequence[Judgement]) -> list[Group]:
    """By kinds of words; a sentence is in the group of each kind that it has."""
    return _part(judgements, lambda each: kinds_of(each.sentence), [*KINDS, PLAIN])


def _part(
    judgements: Sequence[Judgement], names: Callable[[Judgement], list[str]], order: Sequence[str]
) -> list[Group]:
    parts: dict[str, list[Judgement]] = {name: [] for name in order}
    for each in judgements:
        for name in names(each):
            parts[name].append(each)
    return [sum_up(name, part) for name, part in parts.items() if part]


def histogram(judgements: Sequence[Judgement], bins: int = 20) -> list[int]:
    """Expressions by IoU, from 0 to 1 in equal steps; the last one holds 1."""
    counts, _ = np.histogram([each.iou for each in judgements], bins=bins, range=(0.0, 1.0))
    return counts.tolist()
