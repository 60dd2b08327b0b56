"""How answers look."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cmmasksd.apis import ReferringInferencer
from cmmasksd.web.answers import Answer, Answers
from cmmasksd.web.asking import read_question
from cmmasksd.web.drawing import INSIDE, OUTLINE, PALETTE, draw_correlation, draw_masks


@pytest.fixture
def answer(inferencer: ReferringInferencer, picture: Path) -> Answer:
    text = '\n'.join(f'thing {number}' for number in range(10))
    return Answers(inferencer).answer(read_question(str(picture), text))


def test_masks_have_outlines_colours_and_legends(answer: Answer) -> None:
    probabilities = answer.result.probabilities
    threshold = float(np.median(probabilities))
    drawing = draw_masks(answer, threshold)
    assert np.array_equal(drawing.picture, answer.result.image)
    assert len(drawing.annotations) == len(drawing.colors) == 10
    for (opacity, legend), mask, number in zip(drawing.annotations, probabilities > threshold, range(1, 11)):
        assert np.array_equal(opacity > 0, mask) and set(np.unique(opacity)) <= {0, INSIDE, OUTLINE}
        assert legend.startswith(f'{number}  thing {number - 1} · ')
        assert drawing.colors[legend] == PALETTE[(number - 1) % len(PALETTE)]


def test_a_legend_says_that_nothing_was_found(answer: Answer) -> None:
    legends = [legend for _, legend in draw_masks(answer, 0.999).annotations]
    assert legends[0] == '1  thing 0 · nothing above 0.999'


def test_the_correlation_lies_over_the_picture(answer: Answer) -> None:
    first, other = (draw_correlation(answer, sentence) for sentence in ('thing 0', 'thing 7'))
    assert first.shape == answer.result.image.shape and first.dtype == np.uint8
    assert not np.array_equal(first, other)
