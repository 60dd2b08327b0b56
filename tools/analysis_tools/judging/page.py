"""The report: one HTML file that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment  # comes with torch

from .grouping import Group, by_length, by_size, by_words, histogram, sum_up
from .judgements import VERDICTS, Judgement
from .sheets import Picture

TEMPLATE = Path(__file__).with_name('page.html')
TALLEST = 150  # pixels of the histogram's highest bar
SHEETS = {
    'Worst answers': 'Those of lowest IoU, one a picture.',
    'Most wrongly covered': 'Of masks with an IoU of at least 0.1: those that cover most of what is not meant.',
    'Most missed': 'Of masks with an IoU of at least 0.1: those that leave out most of the object.',
}

Table = tuple[str, str, list[Group]]


def tables_of(judgements: Sequence[Judgement]) -> list[Table]:
    """Heading, note and groups of each table."""
    return [
        ('length of the sentence', '', by_length(judgements)),
        ('size of the object', "Share of the picture's area.", by_size(judgements)),
        ('kind of words', 'By lists of common words; a sentence counts for each kind it has.', by_words(judgements)),
    ]


def verdicts_of(judgements: Sequence[Judgement]) -> list[tuple[str, str, int, float]]:
    """Name, meaning, number and share in percent of each verdict."""
    found = [each.verdict for each in judgements]
    return [(name, means, found.count(name), 100 * found.count(name) / len(found)) for name, means in VERDICTS.items()]


def balance_of(judgements: Sequence[Judgement]) -> str:
    """A sentence on over- and under-segmentation of what was found."""
    found = [each for each in judgements if each.verdict in ('right', 'partly')]
    if not found:
        return 'No object was found.'
    group = sum_up('', found)
    return (
        f'Of the {group.count} objects that were found, wholly or partly, {group.over:.1f} % of the union of mask and '
        f'truth is wrongly covered (over-segmentation) and {group.under:.1f} % is missed (under-segmentation).'
    )


def render(
    title: str,
    source: str,
    rule: str,
    scores: dict[str, float],
    judgements: Sequence[Judgement],
    sheets: dict[str, Sequence[Picture]],
) -> str:
    """The page.

    Args:
        title: of the page.
        source: where predictions and annotations come from, in words.
        rule: how the scores come about.
        scores: by name.
        judgements: at least one.
        sheets: pictures by the names in ``SHEETS``.
    """
    template = Environment(autoescape=True, trim_blocks=True).from_string(TEMPLATE.read_text(encoding='utf-8'))
    return template.render(
        title=title,
        source=source,
        rule=rule,
        scores={name: f'{value:.2f}' if isinstance(value, float) else value for name, value in scores.items()},
        verdicts=verdicts_of(judgements),
        balance=balance_of(judgements),
        bars=_bars(histogram(judgements)),
        tables=tables_of(judgements),
        sheets=[(name, SHEETS[name], pictures) for name, pictures in sheets.items()],
    )


def _bars(counts: Sequence[int]) -> list[dict[str, Any]]:
    step, highest = 1 / len(counts), max(counts)
    bars = []
    for number, count in enumerate(counts):
        height = round(TALLEST * count / highest)
        name = f'{number * step:.2f} to {(number + 1) * step:.2f}'
        bars.append(dict(x=12 + 32 * number, y=170 - height, height=height, count=count, name=name))
    return bars
