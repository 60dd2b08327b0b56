"""Pictures to begin with: of RefShapes, made when the page starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cmmasksd.datasets.refer import load_refer
from cmmasksd.datasets.refshapes import make_refshapes

COUNT = 6
SENTENCES = 3  # of each picture, at most
SEED = 2024  # not the quick start's: its model has not seen these
SIZES = ((384, 512), (448, 448), (512, 384))


@dataclass(frozen=True)
class Example:
    """A picture and what may be asked of it.

    Attributes:
        path: the picture's file.
        sentences: a line each.
    """

    path: str
    sentences: str


def make_examples(folder: Path) -> list[Example]:
    """Makes pictures in a folder, each with a sentence about each of a few of its objects."""
    make_refshapes(folder, num_images=COUNT, seed=SEED, image_sizes=SIZES)
    data = load_refer(folder, 'refshapes', 'unc')
    sentences: dict[int, list[str]] = {}
    for ref in data.refs:
        sentences.setdefault(ref.image_id, []).append(ref.sentences[0].sent)
    return [
        Example(data.images[image_id].path, '\n'.join(dict.fromkeys(asked[:SENTENCES])))
        for image_id, asked in sentences.items()
    ]
