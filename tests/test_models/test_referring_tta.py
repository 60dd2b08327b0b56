"""Views of a picture become one answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from cmmasksd.datasets.transforms import build_pipeline, with_test_time_augmentation
from cmmasksd.models import ReferringTTAModel
from cmmasksd.registry import MODELS

SIZE = (40, 61)
IMAGE = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
PIPELINE: list[dict[str, Any]] = [
    dict(type='LetterboxResize', size=(64, 64), resize_masks=False),
    dict(type='TokenizeExpressions', token_length=9),
    dict(type='PackReferringInputs'),
]


class Sided(nn.Module):
    """Finds the half of the picture that the sentence says, by half its brightness; ``lean`` is added on the left."""

    threshold = 0.35

    def __init__(self, lean: float = 0.0) -> None:
        super().__init__()
        self.lean = lean

    def test_step(self, data: dict[str, list]) -> list[SegDataSample]:
        for image, sample in zip(data['inputs'], data['data_samples'], strict=True):
            maps = torch.stack([self._answer(image, text) for text in sample.expressions.texts])
            maps = sample.letterbox.undo(maps)
            sample.predictions = InstanceData(masks=maps > self.threshold, probabilities=maps)
        return data['data_samples']

    def _answer(self, image: Tensor, text: str) -> Tensor:
        answer = image.float().mean(dim=0) / 510
        half = image.shape[2] // 2
        answer[:, :half] += self.lean
        answer[:, slice(half, None) if 'left' in text else slice(half)] = 0
        return answer


def ask(pipeline: list[dict[str, Any]], texts: list[str]) -> dict[str, Any]:
    masks = np.zeros((len(texts), *SIZE), bool)
    masks[:, :, :9] = True
    results: Any = dict(
        img=IMAGE, texts=texts, masks=masks, mask_index=np.arange(len(texts)), rng=np.random.default_rng(0)
    )
    results |= dict(height=SIZE[0], width=SIZE[1], img_path='zebra.jpg')
    for step in build_pipeline(pipeline):
        results = step(results)
    return results


def batch_of(items: list[dict[str, Any]]) -> dict[str, list[list]]:
    """What mmengine's ``pseudo_collate`` makes of items with views: a list a view, of all images."""
    return {key: [list(views) for views in zip(*(item[key] for item in items))] for key in items[0]}


def test_an_equivariant_model_answers_as_without_flips() -> None:
    texts = ['left one', 'the right one']
    plain = Sided().test_step({key: [value] for key, value in ask(PIPELINE, texts).items()})[0]
    views = batch_of([ask(with_test_time_augmentation(PIPELINE), texts)])
    (merged,) = ReferringTTAModel(Sided()).test_step(views)
    found = merged.predictions
    assert found.masks.dtype == torch.bool and found.masks.shape == (2, *SIZE)
    assert (found.probabilities - plain.predictions.probabilities).abs().max() < 0.01
    assert found.masks[0, :, :28].any() and not found.masks[0, :, 33:].any()
    assert merged.expressions.texts == texts and merged.expressions.masks[:, :, :9].all() and not merged.flip


def test_probabilities_are_averaged_at_the_pictures_size() -> None:
    texts = ['left one']
    views = batch_of([ask(with_test_time_augmentation(PIPELINE), texts) for _ in range(2)])
    merged = ReferringTTAModel(Sided(lean=0.4)).test_step(views)
    plain = Sided().test_step({key: [value] for key, value in ask(PIPELINE, texts).items()})[0].predictions
    assert len(merged) == 2
    for sample in merged:  # the lean is added in the view where the object is on the left, and not in the other
        difference = (sample.predictions.probabilities - plain.probabilities)[0, 2:-2, 2:26]
        assert (difference - 0.2).abs().max() < 0.02
        assert torch.equal(sample.predictions.masks, sample.predictions.probabilities > Sided.threshold)


def view(flip: bool | None = None, width: int = 6) -> SegDataSample:
    sample = SegDataSample(metainfo=dict(img_path='zebra.jpg', **({} if flip is None else dict(flip=flip))))
    sample.predictions = InstanceData(probabilities=torch.arange(width).float().expand(1, 2, width) / 10)
    return sample


def test_the_view_as_it_is_may_stand_anywhere() -> None:
    upright = view(flip=False)
    (merged,) = ReferringTTAModel(Sided()).merge_preds([[view(flip=True), upright]])
    assert merged is upright
    assert torch.allclose(merged.predictions.probabilities, torch.full((1, 2, 6), 0.25))


@pytest.mark.parametrize(
    ('views', 'message'),
    [
        ([view(flip=True)], 'every view is mirrored'),
        ([view(), view(width=7)], 'views of different sizes'),
    ],
)
def test_views_that_make_no_answer(views: list[SegDataSample], message: str) -> None:
    with pytest.raises(ValueError, match=f'zebra.jpg: {message}'):
        ReferringTTAModel(Sided()).merge_preds([views])


def test_it_is_built_of_configs(tiny_config: Any) -> None:
    model = MODELS.build(dict(type='ReferringTTAModel', module=tiny_config(threshold=0.2)))
    assert model.module.threshold == 0.2 and model.text_encoder is model.module.text_encoder
    own = dict(type='cmmasksd.ReferringDataPreprocessor', mean=(1.0, 2.0, 3.0))
    model = MODELS.build(dict(type='ReferringTTAModel', module=tiny_config(), data_preprocessor=own))
    assert model.module.data_preprocessor.mean.flatten().tolist() == [1, 2, 3]
