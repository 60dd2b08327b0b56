"""How RefShapes' expressions are chosen for a thing and put into words."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from cmmasksd.datasets.refshapes.expressions import (
    DIRECTIONS,
    Corner,
    Description,
    Expression,
    Extreme,
    Relation,
    resolve,
)
from cmmasksd.datasets.refshapes.viewing import Thing, View

KINDS_OF_SPLIT = {
    'train': {'attribute': 0.5, 'position': 0.3, 'relation': 0.2},
    'val': {'attribute': 0.5, 'position': 0.3, 'relation': 0.2},
    'testA': {'attribute': 1.0},
    'testB': {'position': 0.5, 'relation': 0.5},
}  # split -> how often each kind of expression is tried
_SENTENCES_OF_REF = (0.2, 0.35, 0.3, 0.15)  # chances of 1, 2, 3 and 4 sentences
_ATTRIBUTES = {'kind': 1.0, 'colour': 5.0, 'texture': 0.7, 'size': 3.0}  # name -> weight in the draw of what is said


@dataclass(frozen=True)
class Words:
    """How expressions are put into words: templates by what they say, and the words for things.

    Attributes:
        descriptions: with one place for the name.
        extremes: by direction, with one place for the name.
        corners: two groups, drawn evenly, of templates that name ``vertical``, ``horizontal`` and ``name``.
        relations: by direction, with places for the name of the thing, {0}, and of its anchor, {1}.
        nouns: for a thing whose kind is left unsaid.
        synonyms: of attributes and of corners' directions; a word that is not here is said as it is.
        attributes_after: say "circle that is small and red", not "small red circle".
    """

    descriptions: tuple[str, ...]
    extremes: Mapping[str, tuple[str, ...]]
    corners: tuple[tuple[str, ...], tuple[str, ...]]
    relations: Mapping[str, tuple[str, ...]]
    nouns: tuple[str, ...] = ('shape', 'object', 'thing')
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {'large': ('large', 'big')})
    attributes_after: bool = False


PLAIN = Words(
    descriptions=('{}', 'the {}'),
    extremes={
        'left': ('leftmost {}', 'the leftmost {}', 'the {} on the far left'),
        'right': ('rightmost {}', 'the rightmost {}', 'the {} on the far right'),
        'top': ('top {}', 'the topmost {}', 'the {} at the top'),
        'bottom': ('bottom {}', 'the lowest {}', 'the {} at the bottom'),
    },
    corners=(
        ('{vertical} {horizontal} {name}', 'the {vertical} {horizontal} {name}'),
        ('{name} in the {vertical} {horizontal}', 'the {name} in the {vertical} {horizontal}'),
    ),
    relations={
        'left': ('{} left of the {}', 'the {} to the left of the {}'),
        'right': ('{} right of the {}', 'the {} to the right of the {}'),
        'top': ('{} above the {}', 'the {} above the {}'),
        'bottom': ('{} below the {}', 'the {} under the {}'),
    },
)


def speak(number: int, view: View, split: str, rng: np.random.Generator) -> list[str]:
    """Draws one to four different sentences of the split's kinds that refer to ``view.things[number]``; none where
    none was found.
    """
    chances = KINDS_OF_SPLIT[split]
    wanted = 1 + draw_index(_SENTENCES_OF_REF, rng)
    sentences: dict[str, None] = {}  # a set that keeps its order
    for _ in range(2 * wanted):
        kind = list(chances)[draw_index(chances.values(), rng)]
        expression = find(kind, number, view, rng)
        if expression is not None:
            sentences[say(expression, rng)] = None
        if len(sentences) == wanted:
            break
    return list(sentences)


def find(kind: str, number: int, view: View, rng: np.random.Generator, tries: int = 16) -> Expression | None:
    """Draws an expression, an ``attribute``, ``position`` or ``relation``, that refers to ``view.things[number]``; None
    where none was found in so many ``tries``.
    """
    propose = {'attribute': _propose_description, 'position': _propose_position, 'relation': _propose_relation}[kind]
    for _ in range(tries):
        expression = propose(view.things[number], view, rng)
        # More than a description is said only where it is needed.
        needed = isinstance(expression, Description) or expression.described.leaves_a_choice(view)
        if needed and resolve(expression, view) == number:
            return expression
    return None


def _describe(thing: Thing, view: View, rng: np.random.Generator, chances: tuple[float, ...]) -> Description:
    """Says k of the thing's attributes with the k-th of ``chances``, k = 0, 1, ...; the texture only where textures
    differ.
    """
    textures_differ = len({other.texture for other in view.things}) > 1
    weights = (
        _ATTRIBUTES if textures_differ else {name: weight for name, weight in _ATTRIBUTES.items() if name != 'texture'}
    )
    # The first k of this order are a weighted draw without replacement (Efraimidis and Spirakis, 2006).
    order = sorted(weights, key=lambda name: rng.random() ** (1 / weights[name]), reverse=True)
    return Description(**{name: getattr(thing, name) for name in order[: draw_index(chances, rng)]})


def _propose_description(thing: Thing, view: View, rng: np.random.Generator) -> Description:
    return _describe(thing, view, rng, (0.0, 0.4, 0.5, 0.1))


def _propose_position(thing: Thing, view: View, rng: np.random.Generator) -> Extreme | Corner:
    described = _describe(thing, view, rng, (0.25, 0.5, 0.25))
    horizontal = 'left' if thing.centre[0] < view.width / 2 else 'right'
    vertical = 'top' if thing.centre[1] < view.height / 2 else 'bottom'
    if rng.random() < 0.3:
        return Corner(described, (vertical, horizontal))
    return Extreme(described, horizontal if rng.random() < 0.5 else vertical)


def _propose_relation(thing: Thing, view: View, rng: np.random.Generator) -> Relation:
    others = [other for other in view.things if other is not thing]
    anchor = others[rng.integers(len(others))]
    right, down = thing.centre[0] - anchor.centre[0], thing.centre[1] - anchor.centre[1]
    steps = {name: step[0] * right + step[1] * down for name, step in DIRECTIONS.items()}
    direction = max(steps, key=steps.__getitem__)
    described = _describe(thing, view, rng, (0.1, 0.7, 0.2))
    return Relation(described, direction, _describe(anchor, view, rng, (0.0, 0.4, 0.6)))


def say(expression: Expression, rng: np.random.Generator, words: Words = PLAIN) -> str:
    """Puts an expression into words, in lower case, with phrasings drawn at random."""
    match expression:
        case Description():
            return _pick(words.descriptions, rng).format(_name(expression, words, rng))
        case Extreme(described, direction):
            return _pick(words.extremes[direction], rng).format(_name(described, words, rng))
        case Corner(described, quarter):
            template = _pick(words.corners[rng.random() >= 0.5], rng)
            vertical, horizontal = (_synonym(word, words, rng) for word in quarter)
            return template.format(vertical=vertical, horizontal=horizontal, name=_name(described, words, rng))
        case Relation(described, direction, anchor):
            template = _pick(words.relations[direction], rng)
            return template.format(_name(described, words, rng), _name(anchor, words, rng))
    raise TypeError(f'no words for {expression!r}')


def _name(description: Description, words: Words, rng: np.random.Generator) -> str:
    attributes = (description.size, description.texture, description.colour)
    adjectives = [_synonym(word, words, rng) for word in attributes if word]
    noun = _synonym(description.kind, words, rng) if description.kind else _pick(words.nouns, rng)
    if words.attributes_after and adjectives:
        return f'{noun} that is {" and ".join(adjectives)}'
    return ' '.join([*adjectives, noun])


def _synonym(word: str, words: Words, rng: np.random.Generator) -> str:
    return _pick(words.synonyms[word], rng) if word in words.synonyms else word


def _pick(phrases: tuple[str, ...], rng: np.random.Generator) -> str:
    return phrases[rng.integers(len(phrases))]


def draw_index(chances: Iterable[float], rng: np.random.Generator) -> int:
    """Draws k with the k-th of ``chances``, which sum to 1 (as ``rng.choice``, at a tenth of its time)."""
    limits = list(itertools.accumulate(chances))
    return bisect.bisect(limits[:-1], rng.random())
