"""ConvMixer (Trockman and Kolter, 2022) as an image encoder: convolutions alone, on patches that can be masked."""

from __future__ import annotations

from mmengine.model import BaseModule
from torch import Tensor, nn

from cmmasksd.registry import MODELS
from cmmasksd.structures import TextFeatures, VisualFeatures


class MixerBlock(nn.Module):
    """A depthwise convolution over the patches, with a skip, and a pointwise one over the channels."""

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.over_patches = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size, padding='same', groups=channels),
            nn.GELU(),
            nn.GroupNorm(1, channels),
        )
        self.over_channels = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.GELU(), nn.GroupNorm(1, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, h, w) -> itself."""
        return self.over_channels(x + self.over_patches(x))


@MODELS.register_module()
class ConvMixer(BaseModule):
    """The verbs of an image encoder, ``embed_image``, ``encode_image`` and ``spread_mask``, are all that our segmentor
    and both distillation branches ask for.

    Args:
        image_size: the input's height and width, each a multiple of ``patch_size``.
        patch_size: of the patches, in pixels.
        channels: width D of the tower.
        depth: blocks, at least three.
        kernel_size: of the depthwise convolutions, odd.
        joint_channels: width C of the joint space, the text encoder's.

    Attributes:
        embed_dims: D.
        out_channels: widths of the three levels, what the neck's ``in_channels`` must be.
    """

    def __init__(
        self,
        image_size: tuple[int, int] = (128, 128),
        patch_size: int = 16,
        channels: int = 96,
        depth: int = 6,
        kernel_size: int = 5,
        joint_channels: int = 96,
    ) -> None:
        super().__init__()
        self.grid_size = (image_size[0] // patch_size, image_size[1] // patch_size)
        self.patches = nn.Conv2d(3, channels, patch_size, patch_size)
        self.blocks = nn.ModuleList(MixerBlock(channels, kernel_size) for _ in range(depth))
        self.projection = nn.Linear(channels, joint_channels)
        self.embed_dims = channels
        self.out_channels = (channels, channels, joint_channels)

    def embed_image(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> patch embeddings (B, N, D): what LMVSD masks."""
        return self.patches(images).flatten(2).transpose(1, 2)

    def encode_image(
        self, patch_embeddings: Tensor, text: TextFeatures | None = None, image_index: Tensor | None = None
    ) -> VisualFeatures:
        """Patch embeddings (B, N, D), masked or not; the sentence is not looked at, as ``needs_text`` is not set."""
        x, outputs = self._to_map(patch_embeddings), []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        patches = self.projection(x.flatten(2).transpose(1, 2))  # (B, N, C)
        third = len(outputs) // 3
        levels = (outputs[third - 1], outputs[2 * third - 1], self._to_map(patches))
        return VisualFeatures(levels=levels, patches=patches, pooled=patches.mean(dim=1))

    def spread_mask(self, masked: Tensor) -> Tensor:
        """A mask on the patches (E, N) bool -> on the embeddings, which here lie on the same grid."""
        return masked

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """OpenMMLab's contract: the three levels (B, C_l, h, w)."""
        return self.encode_image(self.embed_image(images)).levels

    def _to_map(self, tokens: Tensor) -> Tensor:
        return tokens.transpose(1, 2).unflatten(2, self.grid_size)  # (B, N, C) -> (B, C, h, w)
