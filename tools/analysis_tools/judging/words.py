"""Kinds of words that expressions use, by lists of the commonest ones in RefCOCO, RefCOCO+ and RefCOCOg."""

from __future__ import annotations

import regex

KINDS = {
    'place in the picture': 'left right top bottom middle center centre corner upper lower edge far closest nearest',
    'order': 'first second third fourth fifth 1st 2nd 3rd 4th last other next another one two three',
    'relation': 'behind front next beside near under above below between with holding wearing by on in of to from',
    'colour': 'black white red blue green yellow brown gray grey orange pink purple tan beige dark light blonde blond',
    'size': 'big bigger biggest large larger largest small smaller smallest tall taller tallest short little tiny huge',
    'person': 'man woman guy girl boy lady person kid child player people baby batter catcher umpire dude he she',
    'clothing': 'shirt hat jacket pants shorts coat dress jeans suit tie cap sweater hoodie glasses helmet stripes',
}
_LISTS = {kind: frozenset(words.split()) for kind, words in KINDS.items()}
PLAIN = 'none of these'


def kinds_of(sentence: str) -> list[str]:
    """The kinds of which a sentence has a word, or ``PLAIN`` alone."""
    words = set(regex.findall(r'\w+', sentence.lower()))
    return [kind for kind, listed in _LISTS.items() if words & listed] or [PLAIN]


def count_words(sentence: str) -> int:
    """Words, parted by what is neither letter nor digit."""
    return len(regex.findall(r'\w+', sentence))
