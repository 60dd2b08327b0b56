"""CRIS's cross-modal feature pyramid, fed by a plain ViT."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from cmmasksd.models.convolutions import ConcatConvBNReLU, ConvBNReLU, resize_like
from cmmasksd.models.layers import BatchNorm
from cmmasksd.registry import MODELS
from cmmasksd.structures import gather_images

Projected = tuple[Tensor, Tensor, Tensor]


@MODELS.register_module()
class CrossModalFPN(BaseModule):
    """Neck(V_local, w_global) of Eq. 2: multiplies the deepest level by the sentence, then merges it into the finer
    ones (CRIS's ``FPN``).

    What an image alone decides (:meth:`project`) is kept apart from what depends on the sentence (:meth:`fuse`), so
    that several expressions of one image share it. Levels are counted as in CRIS: 3 (fine), 4 (the output's grid), 5
    (coarse).

    Args:
        in_channels: widths of the backbone's three levels, shallow to deep.
        text_channels: width C of the sentence feature.
        out_channels: widths of the projected levels 3, 4 and 5; the fused map has the middle one.
        scale_levels: the levels come on one grid, from a ViT, and are scaled x2 (transposed convolution), x1 and x1/2
            (max pooling), as in ViTDet; False: they come at strides 8, 16 and 32, from a ResNet, as in CRIS.
    """

    def __init__(
        self,
        in_channels: tuple[int, int, int] = (768, 768, 512),
        text_channels: int = 512,
        out_channels: tuple[int, int, int] = (256, 512, 1024),
        scale_levels: bool = True,
    ) -> None:
        super().__init__()
        in3, in4, in5 = in_channels
        out3, out4, out5 = out_channels
        self.out_channels = out4
        self.upsample = nn.ConvTranspose2d(in3, in3, kernel_size=2, stride=2) if scale_levels else nn.Identity()
        self.downsample = nn.MaxPool2d(2) if scale_levels else nn.Identity()
        self.project3 = ConvBNReLU(in3, out3, 3)
        self.project4 = ConvBNReLU(in4, out4, 3)
        self.project5 = ConvBNReLU(in5, out5, 1)
        self.text_projection = nn.Sequential(
            nn.Linear(text_channels, out5, bias=False), BatchNorm(out5), nn.ReLU(inplace=True)
        )
        self.norm5 = nn.Sequential(BatchNorm(out5), nn.ReLU(inplace=True))
        self.merge4 = ConcatConvBNReLU((out4, out5), out4, 1)
        self.merge3 = ConcatConvBNReLU((out3, out4), out4, 1)
        self.query3 = ConvBNReLU(out4, out4, 3)
        self.query4 = ConvBNReLU(out4, out4, 3)
        self.query5 = ConvBNReLU(out5, out4, 3)
        self.aggregate = ConcatConvBNReLU((out4, out4, out4), out4, 1)
        self.coordinates = ConcatConvBNReLU((out4, 2), out4, 3)
        self.output = ConvBNReLU(out4, out4, 3)

    def project(self, levels: tuple[Tensor, Tensor, Tensor]) -> Projected:
        """What depends on the image alone.

        Args:
            levels: three maps (B, C_l, h_l, w_l), shallow to deep.

        Returns:
            the parts of levels 3 and 4 in their merging with deeper ones (B, C_4, h, w), and level 5 (B, C_5, h/2,
            w/2).
        """
        level3 = F.avg_pool2d(self.project3(self.upsample(levels[0])), 2)
        level4 = self.project4(levels[1])
        level5 = self.project5(self.downsample(levels[2]))
        return self.merge3.convolve(0, resize_like(level3, level4)), self.merge4.convolve(0, level4), level5

    def fuse(self, projected: Projected, sentence: Tensor, image_index: Tensor | None = None) -> Tensor:
        """Fuses E sentences with the images they speak of.

        Args:
            projected: :meth:`project`'s output for B images.
            sentence: (E, C) sentence features.
            image_index: (E,) the image of each expression; None: one expression an image, in order.

        Returns:
            fused (E, C_4, h, w).
        """
        part3, part4, level5 = (gather_images(level, image_index) for level in projected)
        fused5 = self.norm5(level5 * self.text_projection(sentence)[..., None, None])
        fused4 = self.merge4(part4, self.merge4.convolve(1, fused5))
        fused3 = self.merge3(part3, self.merge3.convolve(1, fused4))
        queries = self.query3(fused3), self.query4(fused4), self.query5(fused5)
        fused = self.aggregate(*(self.aggregate.convolve(place, query) for place, query in enumerate(queries)))
        return self.output(
            self.coordinates(self.coordinates.convolve(0, fused), self.coordinates.convolve(1, coordinates_like(fused)))
        )

    def forward(
        self, levels: tuple[Tensor, Tensor, Tensor], sentence: Tensor, image_index: Tensor | None = None
    ) -> Tensor:
        """``fuse(project(levels), sentence, image_index)``."""
        return self.fuse(self.project(levels), sentence, image_index)


def coordinates_like(features: Tensor) -> Tensor:
    """Two channels (1, 2, h, w) for maps (E, C, h, w): x and y of every pixel, from -1 to 1 (CoordConv)."""
    height, width = features.shape[-2:]
    x = torch.linspace(-1, 1, width, device=features.device, dtype=features.dtype).expand(height, width)
    y = torch.linspace(-1, 1, height, device=features.device, dtype=features.dtype)[:, None].expand(height, width)
    # one odd layout would cost all their own
    return torch.stack([x, y])[None].contiguous(memory_format=torch.channels_last)
