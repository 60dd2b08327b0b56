"""Runs an exported model. Needs numpy, onnxruntime and tokenizers alone; a copy of this file lies in every export.

    from runtime import Segmentor

    segmentor = Segmentor('.')
    masks, probabilities = segmentor(picture, ['left zebra', 'the tree'])

``python runtime.py PICTURE SENTENCE ...`` writes a mask a sentence beside the picture; that needs Pillow too.
"""

from __future__ import annotations

import hashlib
import html
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

Size = tuple[int, int]
CUBIC = -0.75  # the coefficient of OpenCV's and torch's cubic interpolation


class Segmentor:
    """Finds what expressions refer to.

    Args:
        folder: the export.
        providers: onnxruntime's, such as ``['CUDAExecutionProvider']``; by default the processor.
        verify: compare the files with the SHA-256 that the manifest states.

    Raises:
        ValueError: a file that is not the one exported.
    """

    def __init__(
        self, folder: str | Path, providers: Sequence[str] = ('CPUExecutionProvider',), verify: bool = True
    ) -> None:
        folder = Path(folder)
        self.manifest: dict[str, Any] = json.loads((folder / 'manifest.json').read_text())
        for name, digest in self.manifest['sha256'].items() if verify else ():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
                raise ValueError(f'{folder / name} is not the file that was exported: copy the folder anew.')
        self.image = onnxruntime.InferenceSession(folder / 'image.onnx', providers=list(providers))
        self.expressions = onnxruntime.InferenceSession(folder / 'expressions.onnx', providers=list(providers))
        self.tokenizer = Tokenizer.from_file(str(folder / 'tokenizer.json'))
        self.tokenizer.encode_special_tokens = True  # typed ones are characters

    def __call__(self, picture: np.ndarray, expressions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Segments.

        Args:
            picture: (height, width, 3) uint8 RGB.
            expressions: K of them.

        Returns:
            Masks (K, height, width) bool, and probabilities (K, height, width) float32.
        """
        return self.ask(self.encode(picture), expressions)

    def encode(self, picture: np.ndarray) -> tuple[list[np.ndarray], Size]:
        """Shows the model a picture once: its features, and its size."""
        size: Size = self.manifest['size'][0], self.manifest['size'][1]
        original: Size = picture.shape[0], picture.shape[1]
        (height, width), (top, left) = letterbox(original, size)
        canvas = np.empty((3, *size), np.uint8)
        canvas[:] = np.array(self.manifest['border'], np.uint8)[:, None, None]
        scaled = resize(picture.transpose(2, 0, 1).astype(np.float32), (height, width))
        canvas[:, top : top + height, left : left + width] = np.rint(scaled.clip(0, 255))
        return self.image.run(None, dict(images=canvas[None])), original

    def ask(self, encoded: tuple[list[np.ndarray], Size], expressions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Segments in a picture that was encoded before; see a call."""
        features, original = encoded
        names = [each.name for each in self.expressions.get_inputs()]
        ids = self.tokenize(expressions)
        given = dict(zip(names, [*features, ids, np.zeros(len(ids), np.int64)]))
        (maps,) = self.expressions.run(None, given)
        size: Size = self.manifest['size'][0], self.manifest['size'][1]
        (height, width), (top, left) = letterbox(original, size)
        enlarged = resize(maps.astype(np.float32), size, self.manifest['align_corners'])
        inside = enlarged[:, top : top + height, left : left + width]
        probabilities = resize(inside, original).clip(0, 1)
        return probabilities > self.manifest['threshold'], probabilities

    def tokenize(self, expressions: Sequence[str]) -> np.ndarray:
        """(K, L) int64.

        Raises:
            ValueError: no expression, or one without a word.
        """
        if isinstance(expressions, str) or not expressions or not all(text.strip() for text in expressions):
            raise ValueError('Give a list of expressions, each of at least a word.')
        clean = [html.unescape(html.unescape(text)).strip() for text in expressions]
        return np.array([each.ids for each in self.tokenizer.encode_batch(clean)], np.int64)


def letterbox(original: Size, size: Size) -> tuple[Size, Size]:
    """Where a picture lies in the model's input: its scaled size, and its corner."""
    scale = min(size[0] / original[0], size[1] / original[1])
    height, width = (min(limit, max(1, round(length * scale))) for length, limit in zip(original, size))
    return (height, width), ((size[0] - height) // 2, (size[1] - width) // 2)


def resize(maps: np.ndarray, size: Size, align_corners: bool = False) -> np.ndarray:
    """Cubic interpolation of (K, h, w) float32, as torch and OpenCV do it: (K, height, width)."""
    if maps.shape[1:] == tuple(size):
        return maps
    down, across = (_weights(old, new, align_corners) for old, new in zip(maps.shape[1:], size))
    return np.stack([down @ each @ across.T for each in maps])


def _weights(old: int, new: int, align_corners: bool) -> np.ndarray:
    """(new, old): how much each old pixel counts for each new one; beyond the edge, the edge is repeated."""
    at = np.arange(new) * (old - 1) / max(new - 1, 1) if align_corners else (np.arange(new) + 0.5) * old / new - 0.5
    first = np.floor(at).astype(int)
    weights = np.zeros((new, old), np.float32)
    for tap in range(-1, 3):
        distance = np.abs(at - first - tap)
        near = (CUBIC + 2) * distance**3 - (CUBIC + 3) * distance**2 + 1
        far = CUBIC * (distance**3 - 5 * distance**2 + 8 * distance - 4)
        np.add.at(weights, (np.arange(new), (first + tap).clip(0, old - 1)), np.where(distance <= 1, near, far))
    return weights


def main(picture: str, *expressions: str) -> None:
    from PIL import Image, ImageOps

    pixels = np.asarray(ImageOps.exif_transpose(Image.open(picture)).convert('RGB'))
    masks, _ = Segmentor(Path(__file__).parent)(pixels, expressions)
    for number, (expression, mask) in enumerate(zip(expressions, masks), start=1):
        path = Path(picture).with_suffix(f'.{number}.png')
        Image.fromarray(mask).save(path)
        print(f'{path}: {expression}, {mask.mean():.1%} of the picture')


if __name__ == '__main__':
    if len(sys.argv) < 3:
        raise SystemExit('usage: python runtime.py PICTURE SENTENCE ...')
    main(*sys.argv[1:])
