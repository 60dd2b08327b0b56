"""Features of pictures that the model has seen; one that comes again is not encoded anew."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import Tensor

from cmmasksd.structures import EncodedImages

Key = tuple[str, bytes]  # precision, and digest of the pixels


class FeatureCache:
    """Keeps what images were encoded to, by their pixels; those asked of least recently go first. For one thread.

    Args:
        most_bytes: of all that is kept; 0: nothing is.

    Raises:
        ValueError: a negative number of bytes.
    """

    def __init__(self, most_bytes: int) -> None:
        if most_bytes < 0:
            raise ValueError(f'cache_bytes must be at least 0, got {most_bytes}.')
        self.most_bytes = most_bytes
        self._kept: OrderedDict[Key, EncodedImages] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """Bytes that are kept."""
        return sum(each.nbytes for each in self._kept.values())

    def encode(
        self, pixels: Sequence[Tensor], inputs: Tensor, encode: Callable[[Tensor], EncodedImages], precision: str
    ) -> EncodedImages:
        """Encodes those images of a batch that are not kept, in one go.

        Args:
            pixels: the B images (3, H, W) uint8, by which they are known.
            inputs: the same as the model takes them, (B, 3, H, W).
            encode: the model's; called with none of the images that are kept, and not at all where all are.

            precision: what the model computes in; features of another one are not given.

        Returns:
            Features of the B images, in order.
        """
        if not self.most_bytes:
            return encode(inputs)
        keys = [(precision, hashlib.blake2b(each.numpy().tobytes(), digest_size=16).digest()) for each in pixels]
        new = {key: number for number, key in enumerate(keys) if key not in self._kept}
        found = {key: self._kept[key] for key in keys if key in self._kept}
        if new:
            encoded = encode(inputs if len(new) == len(inputs) else inputs[list(new.values())])
            found.update(zip(new, encoded.split()))
        for key in keys:
            self._keep(key, found[key])
        return EncodedImages.join([found[key] for key in keys])

    def _keep(self, key: Key, features: EncodedImages) -> None:
        self._kept[key] = features
        self._kept.move_to_end(key)
        while self._kept and self.nbytes > self.most_bytes:
            self._kept.popitem(last=False)
