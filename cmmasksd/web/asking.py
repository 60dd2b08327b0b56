"""What people hand in: pictures and lines of text, looked at before any model is."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

MOST_SENTENCES = 24  # three rounds of the palette
MOST_LETTERS = 500  # of a sentence; CLIP's text tower reads some 75 words
MOST_MEGAPIXELS = 100


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


def check_picture(path: str) -> None:
    """Looks at a picture's header; its pixels are read with the model's own reader later.

    Raises:
        ValueError: no picture, or one of too many pixels.
    """
    name = Path(path).name
    limit = f'at most {MOST_MEGAPIXELS} are taken, so make it smaller first.'
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                pixels = picture.width * picture.height
    except Image.DecompressionBombError:
        raise ValueError(f'{name} has far more megapixels than fit: {limit}') from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        raise ValueError(f'{name} is no picture that can be read: take a JPEG, PNG or WebP file.') from None
    if pixels > MOST_MEGAPIXELS * 10**6:
        raise ValueError(f'{name} has {pixels / 10**6:.0f} megapixels: {limit}')
