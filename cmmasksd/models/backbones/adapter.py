"""Any image backbone of OpenMMLab or timm as an image encoder: masked self-distillation on CNNs and pyramids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from cmmasksd.models.backbones.stem import Stem
from cmmasksd.models.building import build_part
from cmmasksd.registry import MODELS
from cmmasksd.structures import TextFeatures, VisualFeatures

Grid = tuple[int, int]


@MODELS.register_module()
class ImageBackboneAdapter(BaseModule):
    """Gives a backbone that maps images to a tuple of maps the verbs of an image encoder.

    Embeddings are what the backbone's stem gives (:class:`~cmmasksd.models.backbones.stem.Stem`): masked there, an
    image runs through all that follows, strides and all. The deepest map is projected, point by point, into the joint
    space: its points are the patches that sentences are correlated with, their mean is the pooled feature. A mask on
    that coarse grid covers all embeddings below each point. The neck gets two maps as they are and the projected one.

    Args:
        backbone: its config, such as ``dict(type='mmseg.ResNetV1c', depth=50, ...)`` or ``dict(type='TimmBackbone',
            name='swin_tiny_patch4_window7_224')``.
        image_size: the input's size, H and W.
        joint_channels: width C of the joint space, the text encoder's.
        out_indices: the backbone's outputs that become the neck's levels, shallow to deep; None: its last three.
        stem: the modules that make the embeddings; None: found by the backbone's kind.

    Attributes:
        embed_dims: width D of the embeddings.
        out_channels: widths of the three levels.

    Raises:
        ValueError: fewer than three outputs, or a stem of no known kind.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        image_size: int | Grid = 480,
        joint_channels: int = 512,
        out_indices: Sequence[int] | None = None,
        stem: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.image_size: Grid = (
            (image_size, image_size) if isinstance(image_size, int) else (image_size[0], image_size[1])
        )
        self.backbone = build_part(backbone)
        self.stem = Stem(self.backbone, stem, self.image_size)
        channels, grids = self._measure()
        self.out_indices = tuple(out_indices) if out_indices is not None else tuple(range(len(channels)))[-3:]
        if len(self.out_indices) != 3 or not all(-len(channels) <= index < len(channels) for index in self.out_indices):
            raise ValueError(
                f'{type(self.backbone).__name__} gives {len(channels)} maps, of which {self.out_indices} are to be the '
                "neck's three levels: set its out_indices, or those of the adapter."
            )
        shallow, middle, deep = (channels[index] for index in self.out_indices)
        self.grid_size = grids[self.out_indices[2]]
        self.embed_dims = self.stem.embed_dims
        self.projection = nn.Linear(deep, joint_channels)
        self.out_channels = (shallow, middle, joint_channels)

    def embed_image(self, images: Tensor) -> Tensor:
        """The stem alone: normalised images (B, 3, H, W) -> embeddings (B, M, D)."""
        self._check_size(images)
        return self.stem.embed(self.backbone, images)

    def encode_image(
        self, patch_embeddings: Tensor, text: TextFeatures | None = None, image_index: Tensor | None = None
    ) -> VisualFeatures:
        """All but the stem: embeddings (B, M, D), masked or not; the text is not looked at."""
        maps = self.stem.finish(self.backbone, patch_embeddings)
        shallow, middle, deep = (maps[index] for index in self.out_indices)
        patches = self.projection(deep.flatten(2).transpose(1, 2))  # (B, N, C)
        joint = patches.transpose(1, 2).unflatten(2, self.grid_size)
        return VisualFeatures(levels=(shallow, middle, joint), patches=patches, pooled=patches.mean(dim=1))

    def spread_mask(self, masked: Tensor) -> Tensor:
        """A mask on the patches (E, N) bool -> on the embeddings (E, M): each patch covers what lies below it."""
        coarse = masked.view(-1, 1, *self.grid_size).float()
        return F.interpolate(coarse, size=self.stem.grid_size, mode='nearest').bool().flatten(1)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """The backbone's own maps (B, C_l, h_l, w_l)."""
        self._check_size(images)
        return tuple(self.backbone(images))

    def _check_size(self, images: Tensor) -> None:
        if tuple(images.shape[-2:]) != self.image_size:
            raise ValueError(
                f'The image encoder was built for inputs of {self.image_size}, got {tuple(images.shape[-2:])}: let the '
                "pipeline's LetterboxResize.size and the backbone's image_size agree."
            )

    @torch.no_grad()
    def _measure(self) -> tuple[list[int], list[Grid]]:
        """Widths and grids of the backbone's maps, found by running it without content."""
        tensors = (*self.backbone.named_parameters(), *self.backbone.named_buffers())
        state = {f'backbone.{name}': tensor.to('meta') for name, tensor in tensors}
        modes = {module: module.training for module in self.backbone.modules()}
        images = torch.empty(2, 3, *self.image_size, device='meta')
        try:
            self.backbone.eval()
            maps = torch.func.functional_call(_Measured(self.backbone, self.stem), state, (images,))
        finally:
            for module, mode in modes.items():
                module.training = mode
        return [each.shape[1] for each in maps], [tuple(each.shape[2:]) for each in maps]


class _Measured(nn.Module):
    """The backbone run in its two parts, so that one call with other parameters covers both."""

    def __init__(self, backbone: nn.Module, stem: Stem) -> None:
        super().__init__()
        self.backbone = backbone
        self.stem = stem

    def forward(self, images: Tensor) -> Any:
        self.stem.measure(self.backbone, images)
        return self.stem.finish(self.backbone, self.stem.embed(self.backbone, images))
