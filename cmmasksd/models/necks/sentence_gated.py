"""ETRIS's neck: each level multiplied by the sentence, then all merged on one grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from cmmasksd.models.convolutions import ConcatConvBNReLU, ConvBNReLU, scaling_convolution
from cmmasksd.models.layers import BatchNorm
from cmmasksd.models.necks.cross_modal_fpn import coordinates_like
from cmmasksd.registry import MODELS
from cmmasksd.structures import gather_images


@MODELS.register_module()
class SentenceGatedNeck(BaseModule):
    """The neck of ETRIS (ICCV 2023) and of DETRIS (AAAI 2025); its numbers are those of their public code,
    https://github.com/kkakkkka/ETRIS and https://github.com/jiaqihuang01/DETRIS.

    There a level's pixels attend to the sentence, the only key there is: whatever they ask, they get its value. So a
    level is multiplied by two linear layers of the sentence, and what ETRIS has of queries and keys is left out.

    Args:
        in_channels: widths of the three levels, shallow to deep.
        text_channels: width C of the sentence.
        out_channels: width of the merged map.
        scales: from each level to the grid of the merged map; see
            :class:`~cmmasksd.models.bridges.StageBridge`.
        residual: adds what the levels were merged to to what the coordinates' convolutions make of it (DETRIS).
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (512, 1024, 512),
        text_channels: int = 512,
        out_channels: int = 512,
        scales: Sequence[float] = (0.5, 1, 2),
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.residual = residual
        self.levels = nn.ModuleList(
            nn.Sequential(
                scaling_convolution(width, out_channels, scale), BatchNorm(out_channels), nn.ReLU(inplace=True)
            )
            for width, scale in zip(in_channels, scales, strict=True)
        )
        self.text_projection = nn.Linear(text_channels, out_channels)
        self.gates = nn.ModuleList(
            nn.Sequential(nn.Linear(out_channels, out_channels), nn.Linear(out_channels, out_channels))
            for _ in in_channels
        )
        self.aggregate = ConvBNReLU(len(self.levels) * out_channels, out_channels, 1)
        self.coordinates = ConcatConvBNReLU((out_channels, 2), out_channels, 3)
        self.output = ConvBNReLU(out_channels, out_channels, 3)

    def project(self, levels: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """What depends on the image alone: levels (B, C_l, h_l, w_l) -> (B, out_channels, h, w) each.

        Raises:
            ValueError: ``scales`` that bring them to different grids.
        """
        projected = tuple(layer(level) for layer, level in zip(self.levels, levels, strict=True))
        if len(grids := {tuple(level.shape[2:]) for level in projected}) > 1:
            raise ValueError(
                f'The levels meet on grids of {sorted(grids)}: give SentenceGatedNeck scales that bring all levels to '
                'one grid, (0.5, 1, 2) for a ResNet, (1, 1, 1) for a ViT.'
            )
        return projected

    def fuse(self, projected: Sequence[Tensor], sentence: Tensor, image_index: Tensor | None = None) -> Tensor:
        """Fuses E sentences (E, C) with the images they speak of, ``image_index`` (E,): (E, out_channels, h, w)."""
        text = self.text_projection(sentence)
        gated = [
            gather_images(level, image_index) * gate(text)[..., None, None]
            for level, gate in zip(projected, self.gates)
        ]
        merged = self.aggregate(torch.cat(gated, dim=1))
        fused = self.output(
            self.coordinates(
                self.coordinates.convolve(0, merged), self.coordinates.convolve(1, coordinates_like(merged))
            )
        )
        return merged + fused if self.residual else fused

    def forward(self, levels: Sequence[Tensor], sentence: Tensor, image_index: Tensor | None = None) -> Tensor:
        """``fuse(project(levels), sentence, image_index)``."""
        return self.fuse(self.project(levels), sentence, image_index)
