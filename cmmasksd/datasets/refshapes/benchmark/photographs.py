"""Photographs that scikit-image ships, all free of rights: the grounds and surfaces of the benchmark's pictures.

Read as files: scikit-image itself is not imported, and nothing is downloaded.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from pathlib import Path

import cv2
import numpy as np

# name -> start of the file's SHA-256. CC0: brick, chelsea, coffee, grass, gravel, retina. Public domain: hubble (NASA),
# rocket (SpaceX). Left out: what states no licence, and portraits.
PHOTOGRAPHS = {
    'brick.png': '7966caf324f6ba84',
    'chelsea.png': '596aa1e7cb875eb7',
    'coffee.png': 'cc02f8ca188b167c',
    'grass.png': 'b6b6022426b38936',
    'gravel.png': 'c48615b451bf1e60',
    'hubble_deep_field.jpg': '3a19c5dd8a927a93',
    'retina.jpg': '38a07f36f27f095e',
    'rocket.jpg': 'c2dd0de7c538df8d',
}
SURFACES = ('brick.png', 'chelsea.png', 'coffee.png', 'grass.png', 'gravel.png')
TRAINING_SHARE = 0.6  # of each photograph's width, from the left; the other splits have the rest
_ZOOM = (0.4, 1.0)  # range of a cut's side, a share of the largest that fits
_MAX_HEIGHT = 512
_VERSION = 'scikit-image 0.25 or 0.26'


def check_photographs() -> None:
    """Raises FileNotFoundError where scikit-image or a photograph is missing, ValueError where one is another."""
    folder = _folder()
    for name, digest in PHOTOGRAPHS.items():
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; RefShapes' benchmark needs it: install {_VERSION} anew.")
        if not hashlib.sha256(path.read_bytes()).hexdigest().startswith(digest):
            raise ValueError(
                f"{path} is not the photograph that RefShapes' benchmark is defined by, and would give another set: "
                f'install {_VERSION}.'
            )


def _folder() -> Path:
    found = importlib.util.find_spec('skimage')
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError(
            "RefShapes' benchmark cuts its grounds from photographs of scikit-image, which is not installed: "
            'pip install scikit-image (RefShapes without --benchmark does not need it).'
        )
    return Path(found.submodule_search_locations[0]) / 'data'


@functools.cache
def load_photograph(name: str) -> np.ndarray:
    """(height, width, 3) uint8 RGB, at most 512 pixels high."""
    photograph = np.asarray(cv2.imread(str(_folder() / name), cv2.IMREAD_COLOR))[..., ::-1].copy()
    scale = min(1.0, _MAX_HEIGHT / photograph.shape[0])
    return cv2.resize(photograph, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def cut(name: str, height: int, width: int, training: bool, rng: np.random.Generator) -> np.ndarray:
    """A piece of a photograph, perhaps mirrored, at the size asked for: (height, width, 3) float32 RGB, 0 to 255.

    Training cuts from the left part of each photograph and the other splits from the right: no piece is in both.
    """
    photograph = load_photograph(name)
    border = round(TRAINING_SHARE * photograph.shape[1])
    part = photograph[:, :border] if training else photograph[:, border:]
    scale = rng.uniform(*_ZOOM) * min(part.shape[0] / height, part.shape[1] / width)
    rows, columns = int(height * scale), int(width * scale)
    top, left = rng.integers(part.shape[0] - rows + 1), rng.integers(part.shape[1] - columns + 1)
    piece = part[top : top + rows, left : left + columns]
    if rng.random() < 0.5:
        piece = piece[:, ::-1]
    interpolation = cv2.INTER_AREA if rows > height else cv2.INTER_CUBIC
    return cv2.resize(piece, (width, height), interpolation=interpolation).astype(np.float32)
