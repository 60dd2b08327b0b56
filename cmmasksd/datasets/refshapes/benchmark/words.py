"""How the benchmark speaks: short and long sentences in training, and three ways that are held out of it.

``WORDINGS`` and ``HELD_OUT`` map the name that stands in a sentence's record, ``wording``, to its words. Of the
held-out ones ``synonym`` has words that training lacks, in known templates; ``paraphrase`` and ``longer`` have known
words only, in other orders and in sentences longer than any of training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cmmasksd.datasets.refshapes.speaking import PLAIN, Words

_FARTHEST = {'left': 'furthest to the left', 'right': 'furthest to the right', 'top': 'highest', 'bottom': 'lowest'}
_BESIDE = {'left': 'to the left of', 'right': 'to the right of', 'top': 'above', 'bottom': 'below'}

LONG = Words(
    descriptions=(
        'the thing that i mean is the {}',
        'look for the {} in this picture',
        'there is one {} in the picture and it is the one that i mean',
    ),
    extremes={
        way: (
            f'the {{}} that is nearest to the {way} edge of the picture',
            f'look for the {{}} that lies {farthest}',
        )
        for way, farthest in _FARTHEST.items()
    },
    corners=(
        ('look for the {name} that lies in the {vertical} {horizontal}',),
        ('the {name} that is in the {vertical} {horizontal} of the picture',),
    ),
    relations={
        way: (f'the {{}} that lies {beside} the {{}}', f'find the {{}} that is {beside} the {{}}')
        for way, beside in _BESIDE.items()
    },
)

WORDINGS: Mapping[str, Words] = {'short': PLAIN, 'long': LONG}

HELD_OUT_SYNONYMS = {
    'circle': ('disc', 'ball'),
    'square': ('box', 'block'),
    'triangle': ('wedge', 'pyramid'),
    'star': ('pentagram', 'starburst'),
    'red': ('crimson', 'scarlet'),
    'orange': ('tangerine',),
    'yellow': ('golden', 'lemon'),
    'green': ('emerald',),
    'blue': ('azure', 'cobalt'),
    'purple': ('violet',),
    'small': ('tiny', 'little'),
    'large': ('huge', 'giant'),
    'striped': ('stripy', 'banded'),
    'dotted': ('spotted', 'speckled'),
    'top': ('upper',),
    'bottom': ('lower',),
}
HELD_OUT_NOUNS = ('item', 'figure')
HELD_OUT_WORDS = frozenset(word for words in (*HELD_OUT_SYNONYMS.values(), HELD_OUT_NOUNS) for word in words)

_SYNONYM = replace(
    PLAIN,
    nouns=HELD_OUT_NOUNS,
    synonyms={word: (word, *others) for word, others in HELD_OUT_SYNONYMS.items()},
)
_PARAPHRASE = Words(
    descriptions=('find the one that i mean in the picture the {}', 'it is the {} in this picture that i mean'),
    extremes={
        way: (
            f'nearest to the {way} edge of the picture lies the {{}}',
            f'look for the one that is {farthest} it is the {{}}',
        )
        for way, farthest in _FARTHEST.items()
    },
    corners=(
        ('in the {vertical} {horizontal} of the picture lies the {name}',),
        ('look in the {vertical} {horizontal} for the {name}',),
    ),
    relations={
        way: (f'{beside} the {{1}} lies the {{0}}', f'look {beside} the {{1}} and find the {{0}}')
        for way, beside in _BESIDE.items()
    },
    attributes_after=True,
)
_OPENING = 'look in this picture and find the one thing that i mean it is '
_LONGER = Words(
    descriptions=(_OPENING + 'the {} that is in the picture',),
    extremes={way: (_OPENING + templates[0],) for way, templates in LONG.extremes.items()},
    corners=(
        (_OPENING + 'the {name} that lies in the {vertical} {horizontal} of this picture',),
        (_OPENING + 'the {name} that is in the {vertical} {horizontal} of the picture',),
    ),
    relations={way: (_OPENING + templates[0],) for way, templates in LONG.relations.items()},
)

HELD_OUT: Mapping[str, Words] = {'synonym': _SYNONYM, 'paraphrase': _PARAPHRASE, 'longer': _LONGER}
