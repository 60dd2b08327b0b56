"""Pictures with captions, out of a data set in REFER's format: what a CLIP is trained on and tried with.

A ref's sentence describes one object, CLIP's captions describe what a picture shows. So a caption goes with the
surroundings of its object, cut out of the picture, or the sentences of several refs, joined, with the whole picture.
Cut-outs are of many sizes, from the object alone to several times as wide: an object so comes to fill few patches or
nearly all. Masks serve for the cut-outs' places alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Dataset

from cmmasksd.datasets.refer.garbage_collection import paused_collector
from cmmasksd.datasets.refer.reader import load_refer
from cmmasksd.datasets.refer.records import Image, Ref
from cmmasksd.datasets.refer.segmentation import decode_mask
from cmmasksd.datasets.transforms import LetterboxResize, LoadReferringImage
from cmmasksd.datasets.transforms.text import tokenize

Window = tuple[int, int, int, int]
WIDTHS = (1.1, 3.0)  # of a cut-out, in widths and heights of its object
MOST_SENTENCES = 3  # in a whole picture's caption
SMALLEST = 8  # pixels of a cut-out's side, at least


@dataclass(frozen=True)
class Caption:
    """What is said of a picture, or of a window (top, left, bottom, right) of it."""

    image: Image
    window: Window | None
    text: str


class CaptionedPictures:
    """The captions of a split.

    Args:
        data_root, dataset, split_by, split, sentence_field: see :class:`~cmmasksd.datasets.RefCOCODataset`.
    """

    def __init__(self, data_root: str, dataset: str, split_by: str, split: str, sentence_field: str = 'sent') -> None:
        with paused_collector():
            data = load_refer(data_root, dataset, split_by, split)
        self._field = sentence_field
        self._refs = data.refs
        self._images = data.images
        self._boxes: dict[int, Window] = {}
        self._by_image: dict[int, list[Ref]] = {}
        for ref in data.refs:
            self._by_image.setdefault(ref.image_id, []).append(ref)

    def draw(self, whole: float, rng: np.random.Generator) -> list[Caption]:
        """A caption for each ref, in a random order.

        Args:
            whole: the share that is about whole pictures.
            rng: all draws are its.
        """
        return [self._draw_one(self._refs[index], whole, rng) for index in rng.permutation(len(self._refs))]

    def _draw_one(self, ref: Ref, whole: float, rng: np.random.Generator) -> Caption:
        image = self._images[ref.image_id]
        if rng.random() >= whole:
            return Caption(image, self._window(ref, image, rng), self._sentence(ref, rng))
        others = [other for other in self._by_image[ref.image_id] if other is not ref]
        chosen = [ref, *(others[index] for index in rng.permutation(len(others))[: MOST_SENTENCES - 1])]
        return Caption(image, None, ', '.join(self._sentence(each, rng) for each in chosen))

    def _sentence(self, ref: Ref, rng: np.random.Generator) -> str:
        return getattr(ref.sentences[rng.integers(len(ref.sentences))], self._field)

    def _window(self, ref: Ref, image: Image, rng: np.random.Generator) -> Window:
        top, left, bottom, right = self._box(ref, image)
        factor = rng.uniform(*WIDTHS)
        height, width = max(SMALLEST, factor * (bottom - top)), max(SMALLEST, factor * (right - left))
        row, column = (top + bottom) / 2, (left + right) / 2
        return (
            max(0, round(row - height / 2)),
            max(0, round(column - width / 2)),
            min(image.height, round(row + height / 2)),
            min(image.width, round(column + width / 2)),
        )

    def _box(self, ref: Ref, image: Image) -> Window:
        """The smallest window that holds the object."""
        if ref.ref_id not in self._boxes:
            mask = decode_mask(ref.segmentation, image.height, image.width, f'{image.path}: ref {ref.ref_id}')
            rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
            self._boxes[ref.ref_id] = (int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
        return self._boxes[ref.ref_id]


def distinct_batches(captions: Iterable[Caption], size: int) -> list[list[Caption]]:
    """Batches in which nothing is said twice and no whole picture comes twice, so that each caption is right for one of
    the pictures alone, as far as texts tell.

    Args:
        captions: in order; one that a batch has already goes into the next one.
        size: of each batch; what is left at the end and fills none is left out.
    """
    filled: list[list[Caption]] = []
    open_batches: list[tuple[list[Caption], set[str]]] = []
    for caption in captions:
        keys = {caption.text} | ({caption.image.path} if caption.window is None else set())
        fitting = next((each for each in open_batches if not keys & each[1]), None)
        if fitting is None:
            fitting = ([], set())
            open_batches.append(fitting)
        fitting[0].append(caption)
        fitting[1].update(keys)
        if len(fitting[0]) == size:
            open_batches.remove(fitting)
            filled.append(fitting[0])
    return filled


class CaptionLoader(Dataset[tuple[np.ndarray, np.ndarray]]):
    """Loads captions as a tower takes them: a batch is images (B, 3, H, W) uint8 and token ids (B, L) int64.

    Args:
        batches: lists of captions.
        size: (H, W); pictures are letterboxed as the segmentor's are.
        token_length: L.
        tokenizer: see :class:`~cmmasksd.datasets.transforms.TokenizeExpressions`.
    """

    def __init__(
        self, batches: Sequence[list[Caption]], size: tuple[int, int], token_length: int, tokenizer: str | None = None
    ) -> None:
        self._batches = batches
        self._load, self._resize = LoadReferringImage(name_turned=False), LetterboxResize(size)
        self._token_length, self._tokenizer = token_length, tokenizer

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        batch = self._batches[index]
        ids = [tokenize(caption.text, self._token_length, self._tokenizer) for caption in batch]
        return np.stack([self._picture(caption) for caption in batch]), np.stack(ids)

    def _picture(self, caption: Caption) -> np.ndarray:
        image = caption.image
        record = dict(img_path=image.path, height=image.height, width=image.width)
        pixels = self._load.transform(record)['img']
        if caption.window is not None:
            top, left, bottom, right = caption.window
            pixels = np.ascontiguousarray(pixels[top:bottom, left:right])
        return self._resize.transform(dict(img=pixels))['img'].transpose(2, 0, 1)
