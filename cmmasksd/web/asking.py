"""What people hand in: pictures and lines of text, looked at before any model is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from cmmasksd.apis.pictures import check_picture

MOST_SENTENCES = 24  # three rounds of the palette
MOST_LETTERS = 500  # of a sentence; CLIP's text tower reads some 75 words


@dataclass(frozen=True)
class Question:
    """A picture and what is asked of it; small, and all that is kept for somebody.

    Attributes:
        path: the picture's file.
        digest: of the file's content.
        sentences: what is asked, without doubles.
    """

    path: str
    digest: str
    sentences: tuple[str, ...]

    @property
    def name(self) -> str:
        """The picture's file name."""
        return Path(self.path).name


def read_question(path: str | None, text: str) -> Question:
    """A picture and a text as a question.

    Raises:
        ValueError: no picture, a file that is none or is too large, no sentence, too many or too long ones.
    """
    if not path:
        raise ValueError('There is no picture yet: drop one on the left, choose a file, or take an example.')
    sentences = read_sentences(text)
    check_picture(path)
    with open(path, 'rb') as file:
        return Question(path, hashlib.sha256(file.read()).hexdigest(), sentences)


def read_sentences(text: str) -> tuple[str, ...]:
    """The sentences of a text, a line each; empty lines and doubles are left out.

    Raises:
        ValueError: none, too many, or one that is too long.
    """
    sentences = tuple(dict.fromkeys(filter(None, (' '.join(line.split()) for line in (text or '').splitlines()))))
    if not sentences:
        raise ValueError('There is no sentence yet: write what you mean, such as "the red circle", a line each.')
    if len(sentences) > MOST_SENTENCES:
        raise ValueError(
            f'{len(sentences)} sentences are too many at once: ask at most {MOST_SENTENCES} of a picture here. '
            '`cmmasksd segment` takes any number.'
        )
    for sentence in sentences:
        if len(sentence) > MOST_LETTERS:
            raise ValueError(
                f'The sentence "{sentence[:30]} ..." has {len(sentence)} letters: write at most {MOST_LETTERS}, a '
                'sentence a line.'
            )
    return sentences
