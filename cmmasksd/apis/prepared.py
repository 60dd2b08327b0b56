"""Pictures on their way into the model: prepared for it, and seen by it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mmseg.structures import SegDataSample
from torch import Tensor

from cmmasksd.structures import EncodedImages, Letterbox


@dataclass(frozen=True, eq=False)
class PreparedPicture:
    """A picture and its expressions as the model takes them.

    Attributes:
        image: (height, width, 3) uint8 RGB.
        expressions: the K expressions.
        inputs: (3, H, W) uint8, letterboxed.
        data_sample: the expressions' ``input_ids`` (K, L), and how the picture lies in ``inputs`` (``letterbox``).
        name: the picture's file, where it came from one.
    """

    image: np.ndarray
    expressions: list[str]
    inputs: Tensor
    data_sample: SegDataSample
    name: str

    @property
    def letterbox(self) -> Letterbox:
        """How the picture lies in ``inputs``."""
        return self.data_sample.letterbox


@dataclass(frozen=True, eq=False)
class EncodedPicture:
    """A picture that the model has seen: further expressions cost the text tower, neck and head alone.

    Attributes:
        image: (height, width, 3) uint8 RGB.
        features: what its expressions share, on the model's device.
        letterbox: how the picture lay in the model's input.
        name: the picture's file, where it came from one.
    """

    image: np.ndarray
    features: EncodedImages
    letterbox: Letterbox
    name: str

    @property
    def nbytes(self) -> int:
        """Bytes that the picture and its features take."""
        return self.image.nbytes + self.features.nbytes
