"""The small model of RefShapes, untrained, behind Label Studio's protocol; and pictures in a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cmmasksd.annotation.backend import Backend
from cmmasksd.annotation.pictures import Pictures
from cmmasksd.annotation.server import make_app, started
from cmmasksd.apis import ReferringInferencer
from tests.untrained import make_pictures

HERE = Path(__file__).parent


@pytest.fixture(scope='package')
def inferencer() -> ReferringInferencer:
    torch.manual_seed(0)
    return ReferringInferencer('vit-tiny_refshapes', device='cpu')


@pytest.fixture(scope='package')
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with p0.png, p1.png and p2.png, of 20 x 30 pixels."""
    folder = tmp_path_factory.mktemp('photos')
    make_pictures(folder, 3)
    return folder


@pytest.fixture(scope='package')
def backend(inferencer: ReferringInferencer, photos: Path) -> Backend:
    return Backend(inferencer, Pictures([photos]), 'tiny 1', threshold=0.0)  # an untrained model is sure of nothing


@pytest.fixture(scope='package')
def address(backend: Backend) -> Iterator[str]:
    with started(make_app(backend)) as address:
        yield address


@pytest.fixture(scope='package')
def brush_masks() -> dict[str, list[dict[str, Any]]]:
    """Masks and their codes as Label Studio's own programs wrote them."""
    return json.loads((HERE / 'brush_masks.json').read_text())


@pytest.fixture
def export() -> list[dict[str, Any]]:
    """What Label Studio 1.23.2 exported: a typed sentence whose mask was accepted; three labels whose masks were
    accepted, to one of which a stroke was added.
    """
    return json.loads((HERE / 'label_studio_export.json').read_text())


def unpack(vector: dict[str, Any]) -> np.ndarray:
    """The mask (height, width) of a vector of the converter's."""
    size = vector['height'], vector['width']
    bits = np.unpackbits(np.array(vector['mask'], np.uint8), count=size[0] * size[1])
    return bits.astype(bool).reshape(size)
