"""The meaning of RefShapes' expressions, by example."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cmmasksd.datasets.refshapes.expressions import Corner, Description, Extreme, Relation, Truth, resolve
from cmmasksd.datasets.refshapes.scenes import SIZES, Scene, Shape
from cmmasksd.datasets.refshapes.viewing import look


def shape(
    kind: str, colour: str, x: float, y: float, radius: float, size: str = 'large', texture: str = 'solid'
) -> Shape:
    return Shape(kind, colour, size, texture, x, y, radius, 0)


RED_CIRCLE = shape('circle', 'red', 30, 30, 12, 'small')
BLUE_CIRCLE = shape('circle', 'blue', 100, 30, 12, 'small')
BLUE_SQUARE = shape('square', 'blue', 100, 75, 12, 'small')
NEAR_CIRCLE = shape('circle', 'red', 34, 70, 12, 'small')  # hardly further right than the red circle
LARGE_CIRCLE = shape('circle', 'red', 40, 70, 24)  # its centre lies further right, its edge further left
# left of the blue square, but as a diagonal neighbour of the blue circle
LOW_CIRCLE = shape('circle', 'red', 60, 60, 12, 'small')
HIDDEN_STAR = shape('star', 'red', 60, 70, 14, 'small')
COVER = shape('square', 'green', 68, 70, 12, 'small')
CIRCLES = Description(kind='circle')


@pytest.mark.parametrize(
    'shapes, expression, number',
    [
        ([RED_CIRCLE, BLUE_CIRCLE, BLUE_SQUARE], Description(colour='red'), 0),
        ([RED_CIRCLE, BLUE_CIRCLE, BLUE_SQUARE], Description(colour='blue', kind='square'), 2),
        ([RED_CIRCLE, BLUE_CIRCLE, BLUE_SQUARE], CIRCLES, None),
        ([RED_CIRCLE, BLUE_CIRCLE, BLUE_SQUARE], Description(kind='star'), None),
        ([RED_CIRCLE, replace(BLUE_CIRCLE, texture='striped'), BLUE_SQUARE], Description(texture='striped'), 1),
        ([RED_CIRCLE, BLUE_CIRCLE, LARGE_CIRCLE], Description(size='large'), 2),
        # who knows what the hidden red thing is?
        ([RED_CIRCLE, HIDDEN_STAR, COVER], Description(kind='circle', colour='red'), None),
        ([RED_CIRCLE, HIDDEN_STAR, COVER], Description(kind='square'), None),
        ([RED_CIRCLE, HIDDEN_STAR, COVER], Description(colour='green'), 2),
        ([RED_CIRCLE, HIDDEN_STAR, COVER], Description(kind='star'), None),
        ([RED_CIRCLE, BLUE_CIRCLE, BLUE_SQUARE], Extreme(CIRCLES, 'left'), 0),
        ([RED_CIRCLE, BLUE_CIRCLE, BLUE_SQUARE], Extreme(CIRCLES, 'right'), 1),
        ([RED_CIRCLE, BLUE_CIRCLE, BLUE_SQUARE], Extreme(CIRCLES, 'top'), None),  # both equally high
        ([RED_CIRCLE, BLUE_CIRCLE, BLUE_SQUARE], Extreme(Description(), 'bottom'), 2),
        ([RED_CIRCLE, NEAR_CIRCLE, BLUE_SQUARE], Extreme(CIRCLES, 'left'), None),
        ([RED_CIRCLE, LARGE_CIRCLE, BLUE_SQUARE], Extreme(CIRCLES, 'left'), None),
        # leftmost, but in the middle of the picture
        ([BLUE_CIRCLE, LOW_CIRCLE, BLUE_SQUARE], Extreme(CIRCLES, 'left'), None),
        ([RED_CIRCLE, BLUE_CIRCLE, BLUE_SQUARE], Corner(CIRCLES, ('top', 'right')), 1),
        ([RED_CIRCLE, BLUE_CIRCLE, BLUE_SQUARE], Corner(CIRCLES, ('bottom', 'right')), None),
        # the red one is higher too
        ([RED_CIRCLE, BLUE_CIRCLE, BLUE_SQUARE], Relation(CIRCLES, 'top', Description(kind='square')), None),
        (
            [RED_CIRCLE, BLUE_CIRCLE, BLUE_SQUARE],
            Relation(Description(colour='blue'), 'top', Description(kind='square')),
            1,
        ),
        (
            [RED_CIRCLE, BLUE_CIRCLE, BLUE_SQUARE],
            Relation(CIRCLES, 'left', Description(colour='blue', kind='circle')),
            0,
        ),
        # which blue one?
        ([RED_CIRCLE, BLUE_CIRCLE, BLUE_SQUARE], Relation(CIRCLES, 'left', Description(colour='blue')), None),
        ([LOW_CIRCLE, BLUE_CIRCLE, BLUE_SQUARE], Relation(CIRCLES, 'left', Description(kind='square')), 0),
        # diagonal
        (
            [LOW_CIRCLE, BLUE_CIRCLE, BLUE_SQUARE],
            Relation(CIRCLES, 'left', Description(colour='blue', kind='circle')),
            None,
        ),
    ],
)
def test_resolve(
    shapes: list[Shape], expression: Description | Extreme | Corner | Relation, number: int | None
) -> None:
    view = look(Scene(96, 128, tuple(shapes)))
    assert view is not None
    assert [thing.clear for thing in view.things] == [one is not HIDDEN_STAR for one in shapes]
    assert resolve(expression, view) == number


def test_a_large_thing_that_reaches_out_further_is_a_doubt_on_both_sides() -> None:
    view = look(Scene(96, 128, (RED_CIRCLE, LARGE_CIRCLE, BLUE_SQUARE)))
    assert view is not None
    truths = [Extreme(CIRCLES, 'left').truth(thing, view) for thing in view.things]
    assert truths == [Truth.MAYBE, Truth.MAYBE, Truth.NO]


@pytest.mark.parametrize('offset, share, clear', [(24, 0.68, True), (22, 0.62, False)])
def test_a_thing_is_clear_that_shows_two_thirds_of_itself(offset: float, share: float, clear: bool) -> None:
    square, cover = shape('square', 'red', 50, 48, 20), shape('square', 'blue', 50 + offset, 48, 20)
    view = look(Scene(96, 128, (square, cover)))
    assert view is not None and view.things[1].clear
    assert view.things[0].share == pytest.approx(share, abs=0.01)
    assert view.things[0].clear == clear


def test_sizes_are_far_apart() -> None:
    assert SIZES['large'][0] > 1.3 * SIZES['small'][1]
