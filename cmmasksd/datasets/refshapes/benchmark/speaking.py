"""What is said of a picture of the benchmark: so many sentences, each of a difficulty and in a wording."""

from __future__ import annotations

import numpy as np

from cmmasksd.datasets.refer.files import Record
from cmmasksd.datasets.refshapes.benchmark.words import HELD_OUT, HELD_OUT_WORDS, WORDINGS
from cmmasksd.datasets.refshapes.expressions import Expression
from cmmasksd.datasets.refshapes.speaking import find, say
from cmmasksd.datasets.refshapes.viewing import View

DIFFICULTIES = ('attribute', 'position', 'relation')
_DIFFICULTIES_OF = {'testA': ('attribute',), 'testB': ('position',), 'testC': ('relation',)}  # of others, all
_TRIES = 4  # of one view: looking at another scene takes longer
_TRIES_OF_THING = 8


def plan(split: str, rng: np.random.Generator) -> list[str]:
    """The difficulties of a picture's sentences: four in training, two elsewhere, evenly drawn where the split has all.

    Drawn before the scene, so that what is hard to find does not become rare.
    """
    difficulties = _DIFFICULTIES_OF.get(split, DIFFICULTIES)
    if len(difficulties) == 1:
        return [*difficulties, *difficulties]
    order = [difficulties[index] for index in rng.permutation(len(difficulties))]
    return [*order, order[0]] if split == 'train' else order[:2]


def speak_of(view: View, planned: list[str], split: str, rng: np.random.Generator) -> dict[int, list[Record]]:
    """A sentence of each difficulty planned, by the number of the thing that it refers to; none where they could not
    be found.

    In tests and val each thing is spoken of once. Positions and relations are said of things that look the same as
    another one only: there the sentence decides.
    """
    for _ in range(_TRIES):
        if spoken := _try_to_speak(view, planned, split, rng):
            return spoken
    return {}


def _try_to_speak(view: View, planned: list[str], split: str, rng: np.random.Generator) -> dict[int, list[Record]]:
    spoken: dict[int, list[Record]] = {}
    for difficulty in sorted(planned, reverse=True):  # relations, the hardest to find, first
        taken = {number for number, said in spoken.items() if split != 'train' or len(said) > 1}
        found = _find_any(difficulty, view, taken, rng)
        if found is None:
            return {}
        number, expression = found
        record = {'difficulty': difficulty, **_word(expression, split, rng)}
        if any(record['sent'] == other['sent'] for other in spoken.get(number, ())):
            return {}
        spoken.setdefault(number, []).append(record)
    return spoken if len(spoken) > 1 else {}


def has_twin(number: int, view: View) -> bool:
    """Whether another thing in view has the same kind, colour, size and texture."""
    looks = [(thing.kind, thing.colour, thing.size, thing.texture) for thing in view.things]
    return looks.count(looks[number]) > 1


def _find_any(difficulty: str, view: View, taken: set[int], rng: np.random.Generator) -> tuple[int, Expression] | None:
    for number in rng.permutation(len(view.things)).tolist():
        fits = view.things[number].clear and has_twin(number, view) == (difficulty != 'attribute')
        expression = find(difficulty, number, view, rng, _TRIES_OF_THING) if fits and number not in taken else None
        if expression is not None:
            return number, expression
    return None


def _word(expression: Expression, split: str, rng: np.random.Generator) -> Record:
    wordings = HELD_OUT if split == 'testD' else WORDINGS
    wording = list(wordings)[rng.integers(len(wordings))]
    sentence = say(expression, rng, wordings[wording])
    while wording == 'synonym' and not HELD_OUT_WORDS & set(sentence.split()):
        sentence = say(expression, rng, wordings[wording])
    return {'sent': sentence, 'wording': wording}
