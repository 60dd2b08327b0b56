"""CLIP's image tower: a ViT of any size, at any input that is a multiple of the patch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from open_clip.model import _build_vision_tower
from open_clip.transformer import VisionTransformer
from torch import Tensor

from cmmasksd.models.layers import use_fused_attention
from cmmasksd.models.open_clip_tower import Architecture, OpenCLIPTower
from cmmasksd.registry import MODELS
from cmmasksd.structures import TextFeatures, VisualFeatures


@MODELS.register_module()
class OpenCLIPVisionTransformer(OpenCLIPTower):
    """open_clip's ViT with three feature levels and every patch in the joint space (Eq. 1).

    Levels are the outputs of the blocks at one and two thirds of the depth (width D) and the last one after ``ln_post``
    and the projection (width C, as CRIS's attention-pooled level). Position embeddings are stored at the configured
    grid and resized bicubically, once, when weights of another grid are loaded.

    Args:
        architecture: open_clip name or config. ``ViT-B-16-quickgelu``: D 768, C 512; ``ViT-L-14-quickgelu``: D 1024, C
            768.
        image_size: the input's size, H and W, each a multiple of the patch.
        out_indices: the blocks (from 0) behind the first two levels, in order; by default 3, 7 of 12 and 7, 15 of 24.
        pretrained: see :class:`~cmmasksd.models.open_clip_tower.OpenCLIPTower`.
        activation_checkpointing: recompute each block in the backward pass: less memory, about a third more time.

    Raises:
        ValueError: ``image_size`` is no multiple of the patch, the architecture is no plain ViT or pools without a
            [class] token, or it has no blocks of those indices (by default it needs three).
    """

    def __init__(
        self,
        architecture: Architecture = 'ViT-B-16-quickgelu',
        image_size: int | tuple[int, int] = 576,
        out_indices: tuple[int, int] | None = None,
        pretrained: str | None = None,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__(architecture, pretrained)
        size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        patch_size = self.config['vision_cfg'].get('patch_size', 16)
        if patch_size is None:
            raise ValueError(f"The image tower of '{architecture}' is a ResNet; this backbone needs a plain ViT.")
        if any(length % patch_size for length in size):
            raise ValueError(f'image_size {size} is no multiple of the patch size {patch_size}.')
        vision_config = {**self.config['vision_cfg'], 'image_size': size}
        self.visual = _build_vision_tower(self.config['embed_dim'], vision_config, self.config.get('quick_gelu', False))
        if not isinstance(self.visual, VisionTransformer) or self.visual.attn_pool is not None:
            raise ValueError(f"The image tower of '{architecture}' is no plain ViT; this backbone needs one.")
        if self.visual.pool_type != 'tok':
            raise ValueError(
                f"The image tower of '{architecture}' pools by {self.visual.pool_type!r} and trained no [class] token, "
                'from which the pooled feature and VMLSD are made: choose a ViT that pools by its token.'
            )
        use_fused_attention(self.visual)
        self.visual.set_grad_checkpointing(activation_checkpointing)
        depth = len(self.visual.transformer.resblocks)
        self.out_indices = tuple((depth // 3 - 1, 2 * depth // 3 - 1) if out_indices is None else out_indices)
        if len(self.out_indices) != 2 or not 0 <= self.out_indices[0] < self.out_indices[1] < depth:
            raise ValueError(
                f'The first two levels come from blocks {self.out_indices}, but the image tower has {depth}, counted '
                'from 0: give '
                'out_indices=(i, j) with i < j, or a tower of at least three blocks.'
            )
        self.grid_size: tuple[int, int] = self.visual.grid_size
        self.image_size = size
        self.embed_dims: int = self.visual.transformer.width
        self.out_channels = (self.embed_dims, self.embed_dims, self.config['embed_dim'])

    def embed_image(self, images: Tensor) -> Tensor:
        """Cuts normalised images (B, 3, H, W) into patch embeddings (B, N, D), before positions are added."""
        if tuple(images.shape[-2:]) != self.image_size:
            raise ValueError(
                f'The image tower was built for inputs of {self.image_size}, got {tuple(images.shape[-2:])}: let the '
                "pipeline's LetterboxResize.size and the backbone's image_size agree."
            )
        return self.visual.conv1(images).flatten(2).transpose(1, 2)

    def encode_image(
        self, patch_embeddings: Tensor, text: TextFeatures | None = None, image_index: Tensor | None = None
    ) -> VisualFeatures:
        """Encodes patch embeddings (B, N, D), masked or not; the text is not looked at."""
        visual = self.visual
        class_token = visual.class_embedding.expand(len(patch_embeddings), 1, -1)
        x = torch.cat([class_token.to(patch_embeddings.dtype), patch_embeddings], dim=1)  # (B, 1 + N, D)
        x = visual.ln_pre(x + visual.positional_embedding.to(x.dtype))
        x, shallow = visual.transformer.forward_intermediates(x, indices=list(self.out_indices))
        joint = visual.ln_post(x) @ visual.proj  # (B, 1 + N, C)
        level3, level4, level5 = (self._to_map(level[:, 1:]) for level in (*shallow, joint))
        return VisualFeatures(levels=(level3, level4, level5), patches=joint[:, 1:], pooled=joint[:, 0])

    def spread_mask(self, masked: Tensor) -> Tensor:
        """Patches and patch embeddings are one and the same: (E, N) bool -> itself."""
        return masked

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """OpenMMLab's contract: the three levels (B, C_l, h, w) of normalised images (B, 3, H, W), shallow to deep."""
        return self.encode_image(self.embed_image(images)).levels

    def select_weights(self, clip: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in clip.items() if name.startswith('visual.')}

    def _to_map(self, tokens: Tensor) -> Tensor:
        return tokens.transpose(1, 2).unflatten(2, self.grid_size)  # (B, N, C) -> (B, C, h, w), channels last in memory

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: object) -> None:
        name = f'{prefix}visual.positional_embedding'
        if name in state_dict:
            state_dict[name] = resize_positions(state_dict[name], self.grid_size)
        super()._load_from_state_dict(state_dict, prefix, *args)


def resize_positions(positions: Tensor, grid_size: tuple[int, int]) -> Tensor:
    """Resizes position embeddings (1 + n, D) of a square grid to (1 + h * w, D), bicubically; the [class] position is
    kept.
    """
    count = len(positions) - 1
    side = round(count**0.5)
    if count == grid_size[0] * grid_size[1] or side * side != count:
        return positions
    grid = positions[1:].float().T.reshape(1, -1, side, side)
    grid = F.interpolate(grid, size=grid_size, mode='bicubic', antialias=True, align_corners=False)
    return torch.cat([positions[:1], grid[0].flatten(1).T.to(positions.dtype)])
