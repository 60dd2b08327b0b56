"""Small models and batches for all tests. Everything is made on the fly; nothing is downloaded."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from hypothesis import settings
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from cmmasksd.registry import MODELS
from cmmasksd.structures import Letterbox

SOT, EOT = 49406, 49407
# Property tests are the same at each run; HYPOTHESIS_PROFILE=thorough draws other examples each time, and many more.
settings.register_profile('quick', derandomize=True, deadline=None, max_examples=100)
settings.register_profile('thorough', deadline=None, max_examples=5000)
settings.load_profile(os.environ.get('HYPOTHESIS_PROFILE', 'quick'))

SIZE = (32, 48)  # the tiny model's input: a grid of 4 x 6 patches


@pytest.fixture(autouse=True)
def no_default_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a fresh process: no Runner has set a default scope, and none that a test sets outlives it."""
    monkeypatch.setattr(DefaultScope, '_instance_dict', OrderedDict())


@pytest.fixture(autouse=True)
def fixed_seed() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def tiny_architecture() -> dict[str, Any]:
    """open_clip's config of a CLIP with three widths that cannot be mistaken for one another: D 16, D_t 24, C 8."""
    return dict(
        embed_dim=8,
        quick_gelu=True,
        vision_cfg=dict(image_size=32, patch_size=8, layers=6, width=16, head_width=8),
        text_cfg=dict(context_length=77, vocab_size=49408, layers=2, width=24, heads=3),
    )


@pytest.fixture
def tiny_config(tiny_architecture: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """``tiny_config(**options)``: config of a segmentor without dropout and, by default, with both branches."""

    def make(**options: Any) -> dict[str, Any]:
        return dict(
            type='cmmasksd.ReferringSegmentor',
            backbone=dict(type='cmmasksd.OpenCLIPVisionTransformer', architecture=tiny_architecture, image_size=SIZE),
            text_encoder=dict(type='cmmasksd.OpenCLIPTextTransformer', architecture=tiny_architecture),
            neck=dict(
                type='cmmasksd.CrossModalFPN', in_channels=(16, 16, 8), text_channels=8, out_channels=(8, 16, 32)
            ),
            decode_head=dict(
                type='cmmasksd.VisionLanguageDecodeHead',
                channels=16,
                word_channels=24,
                text_channels=8,
                num_layers=2,
                num_heads=2,
                feedforward_channels=32,
                dropout=0.0,
            ),
            distillation=options.pop('distillation', [dict(type='cmmasksd.LMVSD'), dict(type='cmmasksd.VMLSD')]),
            **options,
        )

    return make


@pytest.fixture
def tiny_model(tiny_config: Callable[..., dict[str, Any]]) -> Callable[..., nn.Module]:
    """``tiny_model(**options)``: a segmentor with random weights, the same at each call."""

    def make(**options: Any) -> nn.Module:
        torch.manual_seed(1)
        return MODELS.build(tiny_config(**options))

    return make


@pytest.fixture
def make_ids() -> Callable[[Sequence[int], int], Tensor]:
    """``make_ids(word_counts, token_length)``: ids (E, L) of expressions with that many random word tokens."""

    def make(word_counts: Sequence[int], token_length: int) -> Tensor:
        ids = torch.zeros(len(word_counts), token_length, dtype=torch.long)
        for row, count in zip(ids, word_counts):
            row[0], row[count + 1] = SOT, EOT
            row[1 : count + 1] = torch.randint(1, SOT, (count,))
        return ids

    return make


@pytest.fixture
def make_batch(make_ids: Callable[[Sequence[int], int], Tensor]) -> Callable[..., dict[str, Any]]:
    """``make_batch(counts)``: what the dataloader gives, ``counts`` expressions of each image; the same at each call
    of equal arguments.
    """

    def make(
        counts: Sequence[int] = (1, 1),
        training: bool = True,
        size: tuple[int, int] = SIZE,
        original: tuple[int, int] = (40, 30),
        length: int = 9,
    ) -> dict[str, Any]:
        torch.manual_seed(2)
        images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for _ in counts]
        samples = []
        for number, count in enumerate(counts):
            shape = (original[0] + number, original[1])
            sample = SegDataSample(metainfo=dict(letterbox=Letterbox.fit(shape, size), ori_shape=shape, img_shape=size))
            ids = make_ids([1 + (number + place) % (length - 2) for place in range(count)], length)
            masks = (torch.rand(count, *size) > 0.5).float() if training else torch.rand(count, *shape) > 0.5
            sample.expressions = InstanceData(
                texts=[f'thing {place}' for place in range(count)], input_ids=ids, masks=masks
            )
            samples.append(sample)
        return dict(inputs=images, data_samples=samples)

    return make
