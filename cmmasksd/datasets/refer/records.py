"""The records that readers of annotations give: refs with their sentences and segmentations, pictures, and a whole set
of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cmmasksd.datasets.refer.errors import ReferError
from cmmasksd.datasets.refer.segmentation import Segmentation


@dataclass(frozen=True)
class Sentence:
    """One referring expression: ``sent`` is REFER's cleaned form (what CRIS reads), ``raw`` the one typed (what LAVT
    reads).
    """

    sent_id: int
    sent: str
    raw: str


@dataclass(frozen=True)
class Ref:
    """One referred object, with 1 or more expressions and its polygons (degenerate parts dropped) or RLE, in pixels of
    the picture.
    """

    ref_id: int
    ann_id: int
    image_id: int
    category_id: int
    split: str
    sentences: tuple[Sentence, ...]
    segmentation: Segmentation


@dataclass(frozen=True)
class Image:
    """One picture; the file itself is checked when it is opened."""

    image_id: int
    path: str
    height: int
    width: int


@dataclass(frozen=True)
class ReferData:
    """A whole set, or one split of it: its refs in the file's order, and the pictures that they name."""

    root: str
    dataset: str
    split_by: str
    refs: tuple[Ref, ...]
    images: dict[int, Image]

    @property
    def split_names(self) -> tuple[str, ...]:
        """The splits that exist, in order of first appearance."""
        return tuple(dict.fromkeys(ref.split for ref in self.refs))

    def split(self, name: str) -> tuple[Ref, ...]:
        """The refs of one split, by its exact name (``testA`` is not ``test``).

        Raises:
            ReferError: no such split.
        """
        refs = tuple(ref for ref in self.refs if ref.split == name)
        if not refs:
            raise no_split(name, self.split_names, self.root, self.dataset, self.split_by)
        return refs


@dataclass(frozen=True)
class Annotations:
    """What the annotation files of a set hold, checked, before any picture is looked for.

    Attributes:
        refs: all of the set, or of one split.
        pictures: (file_name, height, width) of each picture of the set by its id, in the order in which the refs name
            them first.
        dropped: how many degenerate polygon parts an annotation of the set lost, by its id.
        counts: refs, images and sentences of each split of the set, in order of first appearance.
    """

    refs: tuple[Ref, ...]
    pictures: dict[int, tuple[str, int, int]]
    dropped: dict[int, int]
    counts: dict[str, tuple[int, int, int]]


def count_splits(refs: Iterable[tuple[str, int, int]]) -> dict[str, tuple[int, int, int]]:
    """Refs, images and sentences of each split, in order of first appearance, from (split, image id, number of
    sentences) of each ref.
    """
    groups: dict[str, list[tuple[int, int]]] = {}
    for split, image_id, sentences in refs:
        groups.setdefault(split, []).append((image_id, sentences))
    return {
        split: (len(group), len({image_id for image_id, _ in group}), sum(sentences for _, sentences in group))
        for split, group in groups.items()
    }


def no_split(name: str, existing: Iterable[str], root: str, dataset: str, split_by: str) -> ReferError:
    """The error for a split that does not exist."""
    return ReferError(f'{dataset} ({split_by}) in {root} has no split {name!r}; use one of: {", ".join(existing)}')
