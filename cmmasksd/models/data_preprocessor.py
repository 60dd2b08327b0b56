"""From a batch of samples to the tensors that the segmentor takes."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor

from cmmasksd.registry import MODELS

CLIP_MEAN = (122.7709, 116.7460, 104.0937)
CLIP_STD = (68.5005, 66.6322, 70.3232)


@MODELS.register_module()
class ReferringDataPreprocessor(BaseDataPreprocessor):
    """Moves a batch to the device, stacks and normalises its images and lines up its expressions.

    Tensors are stacked on the device: stacked before, they would leave the pinned memory from which the copy need not
    be waited for.

    Args:
        mean: RGB mean of the pixels, 0 to 255; CLIP's by default.
        std: RGB standard deviation; CLIP's by default.
        non_blocking: copy to the device without waiting.
    """

    def __init__(
        self,
        mean: tuple[float, float, float] = CLIP_MEAN,
        std: tuple[float, float, float] = CLIP_STD,
        non_blocking: bool = True,
    ) -> None:
        super().__init__(non_blocking=non_blocking)
        self.register_buffer('mean', torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Collates.

        Args:
            data: ``inputs``, a list of B images (3, H, W), uint8 RGB, and ``data_samples``, their samples with
                ``expressions``.
            training: also stack the masks; the samples themselves then stay where they are, for only their stacked
                tensors are used.

        Returns:
            The segmentor's arguments: ``inputs`` (B, 3, H, W) float, ``input_ids`` (E, L), ``image_index`` (E,) or None
            where every image has one expression, ``masks`` (E, 1, H, W) float in training, else None, and
            ``data_samples``.

        Raises:
            ValueError: a picture without any expression.
        """
        images, samples = self.cast_data(data['inputs']), data['data_samples']
        images = torch.stack(images) if isinstance(images, (list, tuple)) else images
        input_ids = [sample.expressions.input_ids for sample in samples]
        counts = torch.tensor([len(ids) for ids in input_ids])
        if not counts.all():
            sample = samples[int(counts.argmin())]
            raise ValueError(
                f'{sample.get("img_path", "The given picture")} has no expression: every picture needs at least one.'
            )
        image_index = None
        if not (counts == 1).all():
            image_index = torch.arange(len(samples)).repeat_interleave(counts).to(images.device)
        return dict(
            inputs=(images.float() - self.mean) / self.std,
            input_ids=torch.cat(self.cast_data(input_ids)),
            image_index=image_index,
            masks=torch.cat(self.cast_data([sample.expressions.masks for sample in samples]))[:, None]
            if training
            else None,
            data_samples=samples if training else self.cast_data(samples),
        )
