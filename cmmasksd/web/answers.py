"""The model behind the page: it sees each picture once and answers each sentence once, as long as there is room."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from cmmasksd.apis import EncodedPicture, ReferringInferencer, ReferringResult
from cmmasksd.web.asking import Question, check_picture

LONGER_SIDE = 1024  # of a picture on the page
MOST_BYTES = 2**30  # of pictures, features and answers that are kept
Maps = tuple[Tensor, np.ndarray]  # probabilities (h, w) and correlation (height, width) of one sentence


@dataclass(frozen=True, eq=False)
class Answer:
    """What the page shows of a question.

    Attributes:
        result: the masks, at the model's threshold.
        preview: the same of the picture at a screen's size.
        correlations: (K, height, width) float32 in [0, 1], of ReferringInferencer.correlate.
    """

    result: ReferringResult
    preview: ReferringResult
    correlations: np.ndarray


@dataclass(eq=False)
class Seen:
    """A picture that the model has seen, and the sentences answered of it."""

    picture: EncodedPicture
    small: np.ndarray
    maps: dict[str, Maps] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes that it keeps in use."""
        return (
            self.picture.nbytes
            + self.small.nbytes
            + sum(own.nbytes + correlation.nbytes for own, correlation in self.maps.values())
        )


class Answers:
    """Answers questions, one at a time; pictures are kept by their content, the least recently asked of go first.

    Args:
        inferencer: the model.
        most_bytes: of what is kept between questions.
    """

    def __init__(self, inferencer: ReferringInferencer, most_bytes: int = MOST_BYTES) -> None:
        self.inferencer = inferencer
        self.most_bytes = most_bytes
        self._seen: OrderedDict[str, Seen] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def threshold(self) -> float:
        """The model's own."""
        return self.inferencer.model.threshold

    @property
    def nbytes(self) -> int:
        """Bytes that are kept."""
        return sum(seen.nbytes for seen in self._seen.values())

    def answer(self, question: Question) -> Answer:
        """Answers; the model works only for what it has not seen.

        Raises:
            ValueError: a picture that is cut off or damaged, or whose file is gone; a sentence without words.
        """
        with self._lock, _named(question.path, question.name):
            seen = self._seen.pop(question.digest, None) or self._see(question.path)
            result = replace(self._ask(seen, question.sentences), name=question.name)
            self._keep(question.digest, seen)
            correlations = np.stack([seen.maps[sentence][1] for sentence in question.sentences])
        return Answer(result, resized(result, seen.small), correlations)

    def answer_once(self, path: str, sentences: tuple[str, ...], name: str) -> ReferringResult:
        """Answers about a picture that nobody will come back to; nothing is kept.

        Raises:
            ValueError: as for :meth:`answer`; a file that is no picture, or too large.
        """
        check_picture(path)
        with self._lock, _named(path, name):
            return replace(self.inferencer.ask(self.inferencer.encode(path), sentences), name=name)

    def _see(self, path: str) -> Seen:
        picture = self.inferencer.encode(path)
        return Seen(picture, shrink(picture.image))

    def _ask(self, seen: Seen, sentences: tuple[str, ...]) -> ReferringResult:
        """Answers all sentences, asking the model about the new ones only."""
        new = [sentence for sentence in sentences if sentence not in seen.maps]
        if new:
            maps = self.inferencer.ask(seen.picture, new).maps
            correlations = self.inferencer.correlate(seen.picture, new)
            seen.maps.update({each: (maps[k].clone(), correlations[k].copy()) for k, each in enumerate(new)})
        return self._join(seen, sentences)

    def _join(self, seen: Seen, sentences: tuple[str, ...]) -> ReferringResult:
        maps = torch.stack([seen.maps[sentence][0] for sentence in sentences])
        model, picture = self.inferencer.model, seen.picture
        return ReferringResult(
            picture.image, list(sentences), maps, picture.letterbox, model.threshold, model.mask_alignment
        )

    def _keep(self, digest: str, seen: Seen) -> None:
        self._seen[digest] = seen
        while self._seen and self.nbytes > self.most_bytes:
            self._seen.popitem(last=False)


def shrink(image: np.ndarray) -> np.ndarray:
    """A picture at a screen's size."""
    height, width = image.shape[:2]
    scale = LONGER_SIDE / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def resized(result: ReferringResult, image: np.ndarray) -> ReferringResult:
    """The same answers about the picture at another size: masks are made at that size."""
    letterbox = replace(result.letterbox, original=image.shape[:2])
    return replace(result, image=image, letterbox=letterbox)


@contextmanager
def _named(path: str, name: str) -> Iterator[None]:
    """Errors about a file say its name, not where the page keeps it."""
    try:
        yield
    except FileNotFoundError:
        raise ValueError(f'{name} is no longer kept here: choose it again.') from None
    except (ValueError, TypeError, OSError) as error:
        raise ValueError(str(error).replace(path, name)) from error
