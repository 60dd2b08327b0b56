"""Test-time augmentation: one answer out of several views of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseTTAModel
from mmengine.structures import InstanceData
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from cmmasksd.models.building import build_part
from cmmasksd.registry import MODELS


@MODELS.register_module()
class ReferringTTAModel(BaseTTAModel):
    """Averages the probabilities of a picture's views at the picture's own size; mirrored views are mirrored back.

    The views come from ``TestTimeAug`` in the pipeline
    (:func:`~cmmasksd.datasets.transforms.with_test_time_augmentation`). One of them at least is not mirrored: its
    sample, with its expressions and its ground truth, is what is answered.

    Args:
        module: the segmentor, or its config.
        data_preprocessor: config of one that replaces the segmentor's.
    """

    module: Any

    def __init__(
        self, module: nn.Module | dict[str, Any], data_preprocessor: dict[str, Any] | nn.Module | None = None
    ) -> None:
        if isinstance(module, dict):
            module = build_part(dict(module, data_preprocessor=data_preprocessor) if data_preprocessor else module)
        super().__init__(module)

    @property
    def text_encoder(self) -> nn.Module:
        """The segmentor's, for the check that the pipeline's tokens are its own."""
        return self.module.text_encoder

    def merge_preds(self, data_samples_list: Sequence[Sequence[SegDataSample]]) -> list[SegDataSample]:
        """Of each image the views' samples, in any order -> its sample with ``predictions``: ``masks`` (K, height,
        width) bool and ``probabilities`` (K, height, width) float32.

        Raises:
            ValueError: no view of the picture as it is, or views of different sizes or numbers of expressions.
        """
        return [self._merge(list(views)) for views in data_samples_list]

    def _merge(self, views: list[SegDataSample]) -> SegDataSample:
        upright = next((view for view in views if not view.get('flip', False)), None)
        name = views[0].get('img_path', 'the given picture')
        if upright is None:
            raise ValueError(
                f'{name}: every view is mirrored, and so are the sentences: let one view of tta_pipeline have '
                "dict(type='FlipWithSentence', prob=0)."
            )
        maps = [_turn_back(view) for view in views]
        shapes = {tuple(each.shape) for each in maps}
        if len(shapes) > 1:
            raise ValueError(
                f'{name}: views of different sizes, {sorted(shapes)}, cannot be averaged: scale by '
                'LetterboxResize(scale=...) in tta_pipeline, not by another resizing before it.'
            )
        mean = torch.stack(maps).mean(dim=0)
        upright.predictions = InstanceData(masks=mean > self.module.threshold, probabilities=mean)
        return upright


def _turn_back(view: SegDataSample) -> Tensor:
    probabilities = view.predictions.probabilities
    return probabilities.flip(-1) if view.get('flip', False) else probabilities
