"""The meaning of RefShapes' expressions: of which thing in view is each one true?

An expression's truth of a thing has three values. MAYBE stands for all that two honest viewers could judge differently:
a thing too hidden to tell its kind, a lead too small to call one thing the leftmost. An expression refers to a thing
only if it is true of that one and false of every other; a single MAYBE spoils it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

from cmmasksd.datasets.refshapes.viewing import Thing, View

DIRECTIONS = {'left': (-1, 0), 'right': (1, 0), 'top': (0, -1), 'bottom': (0, 1)}  # name -> step in (x, y)

_LEAD = 0.08  # least lead of the leftmost over the next, a share of the picture's shorter side
_OFF_MIDDLE = 0.06  # least distance from the picture's middle, a share of its side, for a thing to lie in one half
_APART = 0.15  # least offset of two centres, a share of the shorter side, for "left of"
_DOMINANCE = 1.5  # of the offset along "left of" over the offset across it


class Truth(enum.IntEnum):
    """Ordered, so that ``min`` is "and"."""

    NO = 0
    MAYBE = 1
    YES = 2


class Expression(Protocol):
    """Anything that can be true of a thing in view."""

    def truth(self, thing: Thing, view: View) -> Truth: ...


def resolve(expression: Expression, view: View) -> int | None:
    """The number of the one thing in view that the expression refers to; ``None`` where there is none, more than one,
    or a doubt.
    """
    found = None
    for number, thing in enumerate(view.things):
        truth = expression.truth(thing, view)
        if truth is Truth.MAYBE or (truth is Truth.YES and found is not None):
            return None
        if truth is Truth.YES:
            found = number
    return found


@dataclass(frozen=True)
class Description:
    """An expression by attributes ("small red circle"); ``None`` leaves an attribute unsaid."""

    size: str | None = None
    texture: str | None = None
    colour: str | None = None
    kind: str | None = None

    def truth(self, thing: Thing, view: View) -> Truth:
        """Of a thing that is half hidden only the colour can be judged."""
        if self.colour not in (None, thing.colour):
            return Truth.NO
        if not thing.clear:
            return Truth.MAYBE
        agreed = (
            self.size in (None, thing.size)
            and self.texture in (None, thing.texture)
            and self.kind in (None, thing.kind)
        )
        return Truth.YES if agreed else Truth.NO

    def leaves_a_choice(self, view: View) -> bool:
        """Whether it may fit several things in view, so that more must be said."""
        return sum(self.truth(thing, view) > Truth.NO for thing in view.things) > 1


@dataclass(frozen=True)
class Extreme:
    """An expression by the place among its like: the ``direction``-most of the things described, in that half of the
    picture.
    """

    described: Description
    direction: str

    def truth(self, thing: Thing, view: View) -> Truth:
        rivals = [other for other in view.things if other is not thing and self.described.truth(other, view)]
        in_half = Truth.YES if _lies_in_half(thing, view, self.direction) is Truth.YES else Truth.MAYBE
        return min(
            self.described.truth(thing, view),
            in_half,
            *(self._leads(thing, rival, view) for rival in rivals),
            Truth.YES,
        )

    def _leads(self, thing: Thing, rival: Thing, view: View) -> Truth:
        """By its centre and by its edge too: else a large thing may reach out further than a small one whose centre
        leads.
        """
        lead = _advance(thing, self.direction) - _advance(rival, self.direction)
        edge_lead = _edge(thing, self.direction) - _edge(rival, self.direction)
        least = _LEAD * min(view.height, view.width)
        if lead >= least and edge_lead >= 0:
            return Truth.YES
        return Truth.NO if lead <= -least and edge_lead <= 0 else Truth.MAYBE


@dataclass(frozen=True)
class Corner:
    """An expression by the quarter of the picture, such as ``('top', 'left')``, that the thing described lies in."""

    described: Description
    quarter: tuple[str, str]

    def truth(self, thing: Thing, view: View) -> Truth:
        return min(
            self.described.truth(thing, view), *(_lies_in_half(thing, view, direction) for direction in self.quarter)
        )


@dataclass(frozen=True)
class Relation:
    """An expression by the ``direction`` in which the thing described lies from an anchor that its description alone
    singles out.
    """

    described: Description
    direction: str
    anchor: Description

    def truth(self, thing: Thing, view: View) -> Truth:
        number = resolve(self.anchor, view)
        if number is None:
            return Truth.MAYBE
        return min(self.described.truth(thing, view), self._lies_beyond(thing, view.things[number], view))

    def _lies_beyond(self, thing: Thing, anchor: Thing, view: View) -> Truth:
        """YES where the offset of the centres is plain and points mainly this way; NO where it does not point this way
        at all.
        """
        along = _advance(thing, self.direction) - _advance(anchor, self.direction)
        if along <= 0:
            return Truth.NO
        axis = 1 if self.direction in ('left', 'right') else 0
        across = abs(thing.centre[axis] - anchor.centre[axis])
        plain = along >= _APART * min(view.height, view.width) and along >= _DOMINANCE * across
        return Truth.YES if plain else Truth.MAYBE


def _advance(thing: Thing, direction: str) -> float:
    """How far the thing's centre lies in a direction, in pixels from the picture's origin."""
    step = DIRECTIONS[direction]
    return step[0] * thing.centre[0] + step[1] * thing.centre[1]


def _edge(thing: Thing, direction: str) -> int:
    """How far the thing reaches in a direction, in pixels from the picture's origin."""
    left, top, right, bottom = thing.box
    return {'left': -left, 'right': right, 'top': -top, 'bottom': bottom}[direction]


def _lies_in_half(thing: Thing, view: View, direction: str) -> Truth:
    """Whether the thing's centre lies on that side of the picture's middle; MAYBE close to the middle."""
    step = DIRECTIONS[direction]
    side = view.width if step[0] else view.height
    beyond = _advance(thing, direction) - (step[0] + step[1]) * side / 2
    if abs(beyond) < _OFF_MIDDLE * side:
        return Truth.MAYBE
    return Truth.YES if beyond > 0 else Truth.NO
