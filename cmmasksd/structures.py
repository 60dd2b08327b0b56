"""What the rooms hand one another: features of the two towers, and the geometry of a letterboxed picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class VisualFeatures:
    """What an image encoder gives for B images.

    Attributes:
        levels: maps (B, C_l, h, w), shallow to deep, for the neck: three, or as many as the neck takes.
        patches: (B, N, C), every patch in the joint space of image and text, row by row of the h x w grid.
        pooled: (B, C), the image as a whole ([class] token) in the joint space.
        in_words: there is no joint space, and patches and pooled lie in that of the words, (B, N, D_t) and (B, D_t).
    """

    levels: tuple[Tensor, ...]
    patches: Tensor
    pooled: Tensor
    in_words: bool = False


@dataclass(frozen=True)
class TextFeatures:
    """What a text encoder gives for E expressions of L tokens.

    Attributes:
        words: (E, L, D_t), the tower's last normalised layer, for the decoder's cross-attention.
        tokens: (E, L, C), the same in the joint space of image and text.
        sentence: (E, C), the sentence feature in the joint space; CLIP's is the token at EOT.
        padding: (E, L) bool, True at the positions after EOT.
        word_tokens: (E, L) bool, True at word tokens: neither special tokens (SOT, EOT) nor padding.
    """

    words: Tensor
    tokens: Tensor
    sentence: Tensor
    padding: Tensor
    word_tokens: Tensor

    @property
    def last_word(self) -> Tensor:
        """(E, D_t), the last token of each sentence, EOT, among the words."""
        last = (~self.padding).sum(dim=1) - 1
        return self.words.gather(1, last[:, None, None].expand(-1, 1, self.words.shape[2])).squeeze(1)

    def comparable(self, visual: VisualFeatures) -> TextFeatures:
        """These features with ``tokens`` and ``sentence`` in the space of an image's patches."""
        return replace(self, tokens=self.words, sentence=self.last_word) if visual.in_words else self

    def __getitem__(self, rows: slice) -> TextFeatures:
        """The features of some of the expressions."""
        return TextFeatures(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True)
class TokenizedExamples:
    """What a pipeline's tokenizer makes of a few expressions, for a text encoder to compare with its own tokens.

    Attributes:
        name: the tokenizer, for messages.
        input_ids: (n, L) int64.
        word_tokens: (n, L) bool, True at word tokens.
        vocab_size: ids that it can give.
        model_vocab_size: word embeddings of the model that it belongs to, where that is known.
    """

    name: str
    input_ids: np.ndarray
    word_tokens: np.ndarray
    vocab_size: int
    model_vocab_size: int | None = None


@dataclass(frozen=True)
class Letterbox:
    """How a picture lies in the network's input: scaled to ``scaled``, its corner at ``offset``. All in whole pixels,
    (height, width) order.

    Attributes:
        original: size of the picture on disk.
        scaled: size of the picture inside the input.
        offset: (top, left) of the picture inside the input.
        size: the network's input, H x W.
    """

    original: tuple[int, int]
    scaled: tuple[int, int]
    offset: tuple[int, int]
    size: tuple[int, int]

    @classmethod
    def fit(cls, original: tuple[int, int], size: tuple[int, int]) -> Letterbox:
        """The largest centred placement of ``original`` in ``size`` that keeps the aspect ratio (rounded size, floored
        corner).
        """
        scale = min(size[0] / original[0], size[1] / original[1])
        height, width = (min(limit, max(1, round(length * scale))) for length, limit in zip(original, size))
        offset = (size[0] - height) // 2, (size[1] - width) // 2
        return cls((original[0], original[1]), (height, width), offset, (size[0], size[1]))

    def __deepcopy__(self, memo: dict) -> Letterbox:
        """Itself, being frozen: mmengine deep-copies the metadata of every sample more than once."""
        return self

    @property
    def window(self) -> tuple[slice, slice]:
        """The picture's rows and columns inside the input."""
        (top, left), (height, width) = self.offset, self.scaled
        return slice(top, top + height), slice(left, left + width)

    def undo(self, probabilities: Tensor) -> Tensor:
        """Brings probabilities of the input back to the picture: crop the border, resize bicubically, clamp.

        Args:
            probabilities: (K, H, W) at the input's size, float.

        Returns:
            (K, height, width) at the picture's original size, in [0, 1].
        """
        rows, columns = self.window
        cropped = probabilities[None, :, rows, columns]
        if self.scaled != self.original:
            cropped = F.interpolate(cropped, size=self.original, mode='bicubic', align_corners=False)
        return cropped[0].clamp(0, 1)


def gather_images(features: Tensor, image_index: Tensor | None) -> Tensor:
    """Picks every expression's image: (B, ...) -> (E, ...) by ``image_index`` (E,); ``None`` means that E equals B, in
    order. Maps keep their layout: channels last in memory stay so.
    """
    if image_index is None:
        return features
    if features.ndim == 4 and features.is_contiguous(memory_format=torch.channels_last):
        return torch.index_select(features.permute(0, 2, 3, 1), 0, image_index).permute(0, 3, 1, 2)
    return torch.index_select(features, 0, image_index)


@dataclass(frozen=True)
class BranchFeatures:
    """What a branch, the main one or a distillation branch, gives to neck and decode head.

    Attributes:
        projected: the neck's projections (``neck.project``) of the branch's images.
        text: features of the E expressions.
        image_index: (E,) the image of each expression; None: one expression an image, in order.
    """

    projected: tuple[Tensor, ...]
    text: TextFeatures
    image_index: Tensor | None


@dataclass(frozen=True)
class MainBranch(BranchFeatures):
    """The main branch with what else the distillation branches start from.

    Attributes:
        patch_embeddings: (B, M, D), the image tower's input before positions.
        embedding_index: (E,) the image of each expression among the patch embeddings, like ``image_index``, which is
            None where features depend on the sentence and so are the expressions' own.
        word_embeddings: (E, L, D_t), the text tower's input before positions.
        input_ids: (E, L) token ids.
        visual: features of the B images, or of the E expressions.
    """

    patch_embeddings: Tensor
    embedding_index: Tensor | None
    word_embeddings: Tensor
    input_ids: Tensor
    visual: VisualFeatures


@dataclass(frozen=True)
class EncodedImages:
    """What all expressions of the same B images share in prediction.

    Attributes:
        embeddings: (B, M, D), the image tower's input before positions.
        visual: features of the images; None where the image encoder needs the text.
        projected: what the neck makes of the images alone; None likewise.
    """

    embeddings: Tensor
    visual: VisualFeatures | None
    projected: tuple[Tensor, ...] | None

    @property
    def nbytes(self) -> int:
        """Bytes that the tensors take."""
        return sum(tensor.nbytes for tensor in self._tensors())

    def split(self) -> list[EncodedImages]:
        """The features of each image alone, B times B = 1; their memory is their own."""
        parts = zip(*(tensor.split(1) for tensor in self._tensors()))
        return [self._with([part.clone() for part in each]) for each in parts]

    @staticmethod
    def join(images: Sequence[EncodedImages]) -> EncodedImages:
        """The features of one batch of all images."""
        if len(images) == 1:
            return images[0]
        return images[0]._with([torch.cat(parts) for parts in zip(*(each._tensors() for each in images))])

    def _tensors(self) -> list[Tensor]:
        visual = (*self.visual.levels, self.visual.patches, self.visual.pooled) if self.visual else ()
        return [self.embeddings, *visual, *(self.projected or ())]

    def _with(self, tensors: Sequence[Tensor]) -> EncodedImages:
        """The same with other tensors, in the order of :meth:`_tensors`."""
        embeddings, *rest = tensors
        if self.visual is None:
            return EncodedImages(embeddings, None, None)
        count = len(self.visual.levels)
        patches, pooled, *projected = rest[count:]
        return EncodedImages(embeddings, VisualFeatures(tuple(rest[:count]), patches, pooled), tuple(projected))


def join_branches(branches: Sequence[BranchFeatures]) -> BranchFeatures:
    """Makes one batch of several branches of the same E expressions, one branch after the other."""
    images = [[gather_images(level, branch.image_index) for level in branch.projected] for branch in branches]
    text = TextFeatures(
        *(torch.cat([getattr(branch.text, field.name) for branch in branches]) for field in fields(TextFeatures))
    )
    return BranchFeatures(tuple(torch.cat(levels) for levels in zip(*images)), text, image_index=None)
