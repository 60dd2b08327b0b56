"""mmseg's decode heads on the fused map."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from cmmasksd.models.building import build_part
from cmmasksd.models.losses import LossConfig, MaskLoss
from cmmasksd.registry import MODELS


@MODELS.register_module()
class DecodeHeadAdapter(BaseModule):
    """A decode head of mmseg (``mmseg.FCNHead``, ``mmseg.ASPPHead`` ...) in place of ours.

    The sentence has entered the fused map in the neck; such a head looks at no words. Its logits are enlarged
    bilinearly to 4h x 4w, the size at which all branches are compared.

    Args:
        decode_head: config of the head; ``in_channels`` and one foreground class are filled in. Heads of one input map
            go, and those of several (UPerHead) with ``in_channels=[channels]`` and ``in_index=[0]``.
        channels: width of the fused map.
        loss_decode: see :class:`~cmmasksd.models.losses.MaskLoss`; the inner head's own is not used.
    """

    def __init__(self, decode_head: dict[str, Any], channels: int = 512, loss_decode: LossConfig = None) -> None:
        super().__init__()
        self.loss_decode = MaskLoss(loss_decode)
        defaults = dict(in_channels=channels, channels=channels, num_classes=2, out_channels=1, threshold=0.5)
        self.head = build_part(decode_head, **defaults)

    def forward(self, fused: Tensor, words: Tensor, padding: Tensor, sentence: Tensor) -> Tensor:
        """Fused features (E, channels, h, w) -> logits (E, 1, 4h, 4w), float32; the rest is not looked at."""
        height, width = fused.shape[2:]
        logits = self.head([fused]).float()
        return F.interpolate(logits, size=(4 * height, 4 * width), mode='bilinear', align_corners=False)
