"""A page with RefShapes' small model, untrained, served from this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cmmasksd.apis import ReferringInferencer


@pytest.fixture(scope='package')
def inferencer() -> ReferringInferencer:
    torch.manual_seed(0)
    return ReferringInferencer('vit-tiny_refshapes', device='cpu')


@pytest.fixture(scope='package')
def address(inferencer: ReferringInferencer) -> Iterator[str]:
    from cmmasksd.web.command import prepare_environment

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('NO_PROXY', '')
        patch.setenv('no_proxy', '')
        patch.setenv('GRADIO_ANALYTICS_ENABLED', '')
        prepare_environment('127.0.0.1')
        from cmmasksd.web.serving import started

        with started(inferencer, 'tiny/best.pth', '127.0.0.1', None) as address:
            yield address


def save_picture(path: Path, seed: int, size: tuple[int, int] = (60, 80)) -> Path:
    """A picture (height, width) of blurred noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).resize(size[::-1], Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return save_picture(tmp_path / 'picture.png', seed=1)
