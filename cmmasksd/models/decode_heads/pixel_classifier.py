"""LAVT's last layer: object or background, pixel by pixel."""

from __future__ import annotations

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from cmmasksd.models.losses import LossConfig, MaskLoss
from cmmasksd.registry import MODELS


@MODELS.register_module()
class PixelClassifierHead(BaseModule):
    """Scores of background and object for each pixel, enlarged to the input's size (the end of LAVT's
    ``SimpleDecoding``).

    The logit is the difference of both scores, whose sigmoid is their softmax: LAVT's argmax is a threshold of 0.5.

    Args:
        channels: width of the fused map.
        upsample: how many times the logits are enlarged, bilinearly with corners aligned, as LAVT does before its loss.
        loss_decode: the loss or losses of the main branch; see :class:`~cmmasksd.models.losses.MaskLoss`.
    """

    def __init__(self, channels: int = 512, upsample: int = 4, loss_decode: LossConfig = None) -> None:
        super().__init__()
        self.loss_decode = MaskLoss(loss_decode)
        self.classes = nn.Conv2d(channels, 2, 1)
        self.upsample = upsample

    def forward(
        self, fused: Tensor, words: Tensor | None = None, padding: Tensor | None = None, sentence: Tensor | None = None
    ) -> Tensor:
        """Fused features (E, channels, h, w), which have read the sentence -> logits (E, 1, upsample * h, upsample *
        w), float32.
        """
        background, object_ = self.classes(fused).float().chunk(2, dim=1)
        size = [side * self.upsample for side in fused.shape[2:]]
        return F.interpolate(object_ - background, size=size, mode='bilinear', align_corners=True)
