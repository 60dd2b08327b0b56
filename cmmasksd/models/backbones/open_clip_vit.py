"""The image tower of a model of open_clip: a ViT of any kind and size, at any input that is a multiple of the patch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from types import ModuleType
from typing import Any

import torch
from open_clip.model import _build_vision_tower
from open_clip.timm_model import TimmModel
from timm.layers import to_2tuple
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cmmasksd.models.backbones import clip_vit_trunk, timm_vit_trunk
from cmmasksd.models.backbones.positions import resize_positions
from cmmasksd.models.open_clip_tower import Architecture, OpenCLIPTower
from cmmasksd.models.stages import Stages
from cmmasksd.registry import MODELS
from cmmasksd.structures import TextFeatures, VisualFeatures, gather_images


@MODELS.register_module()
class OpenCLIPVisionTransformer(OpenCLIPTower):
    """A ViT of open_clip with three feature levels and every patch in the joint space (Eq. 1).

    Levels are the outputs of the blocks at one and two thirds of the depth (width D) and the patches in the joint space
    (width C, as CRIS's attention-pooled level). What a patch is there depends on how the tower pools: see
    :func:`clip_vit_trunk.finish` and :func:`timm_vit_trunk.finish`. The pooled feature is always open_clip's own,
    before it is normalised; it says what VMLSD masks and carries no gradient, so what it alone needs (the query of an
    attention pooling) is frozen, or training on several GPUs would wait for it. Position embeddings are stored at the
    configured grid and resized bicubically, once, when weights of another grid are loaded.

    Pictures are to be normalised as the tower's weights were trained: by CLIP's mean and deviation, but SigLIP's by
    127.5 both, in the segmentor's ``data_preprocessor``.

    Args:
        architecture: open_clip name or config. ``ViT-B-16-quickgelu``: D 768, C 512; ``ViT-L-14-quickgelu``: D 1024, C
            768.
        image_size: the input's size, H and W, each a multiple of the patch.
        out_indices: the blocks (from 0) behind the first two levels, in order; by default 3, 7 of 12 and 7, 15 of 24.
        pretrained: see :class:`~cmmasksd.models.open_clip_tower.OpenCLIPTower`.
        activation_checkpointing: recompute each block in the backward pass: less memory, about a third more time.

    Raises:
        ValueError: ``image_size`` is no multiple of the patch, the architecture is no ViT or one that cannot be built,
            or it has no blocks of those indices (by default it needs three).
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
        size = (image_size, image_size) if isinstance(image_size, int) else (image_size[0], image_size[1])
        self.image_size: tuple[int, int] = size
        self._refuse_other_kinds()
        self.visual = self._build()
        if (reason := self._trunk.prepare(self.visual, self.config['embed_dim'])) is not None:
            raise ValueError(f'The image tower of {self.name} {reason}.')
        self.visual.set_grad_checkpointing(activation_checkpointing)
        for parameter in self._trunk.pooling_parameters(self.visual):
            parameter.requires_grad_(False)
        depth = len(self._trunk.blocks(self.visual))
        self.out_indices = tuple((depth // 3 - 1, 2 * depth // 3 - 1) if out_indices is None else out_indices)
        if len(self.out_indices) != 2 or not 0 <= self.out_indices[0] < self.out_indices[1] < depth:
            raise ValueError(
                f'The first two levels come from blocks {self.out_indices}, but the image tower has {depth}, counted '
                'from 0: give out_indices=(i, j) with i < j, or a tower of at least three blocks.'
            )
        self.grid_size: tuple[int, int] = self._trunk.grid_size(self.visual)
        self.embed_dims: int = self._trunk.embed_dims(self.visual)
        self.out_channels = (self.embed_dims, self.embed_dims, self.config['embed_dim'])
        self.stage_channels = (self.embed_dims,) * 3

    @property
    def _trunk(self) -> ModuleType:
        return timm_vit_trunk if isinstance(self.visual, TimmModel) else clip_vit_trunk

    def embed_image(self, images: Tensor) -> Tensor:
        """Cuts normalised images (B, 3, H, W) into patch embeddings (B, N, D), before positions are added."""
        if tuple(images.shape[-2:]) != self.image_size:
            raise ValueError(
                f'The image tower was built for inputs of {self.image_size}, got {tuple(images.shape[-2:])}: let the '
                "pipeline's LetterboxResize.size and the backbone's image_size agree."
            )
        return self._trunk.embed(self.visual, images)

    def encode_image(
        self, patch_embeddings: Tensor, text: TextFeatures | None = None, image_index: Tensor | None = None
    ) -> VisualFeatures:
        """Encodes patch embeddings (B, N, D), masked or not; the text is not looked at."""
        outputs: list[Tensor] = []
        x, options = self._trunk.start(self.visual, patch_embeddings)
        for span in self._spans:
            x = self._run(span, x, options)
            outputs.append(x)
        return self._finish(outputs)

    def encode_in_stages(self, patch_embeddings: Tensor, image_index: Tensor | None = None) -> Stages[VisualFeatures]:
        """As :meth:`encode_image`, stopping behind each level's block and the last one with its map (E, D, h, w).

        Up to the first of these the B images are run, and from there on that of each expression, ``image_index`` (E,).
        """
        outputs: list[Tensor] = []
        x, options = self._trunk.start(self.visual, patch_embeddings)
        leading = self._trunk.leading_tokens(self.visual)
        for span in self._spans:
            x = self._run(span, x, options)
            x = x if outputs else gather_images(x, image_index)
            added = yield self._to_map(x[:, leading:])
            x = torch.cat([x[:, :leading], x[:, leading:] + added.flatten(2).transpose(1, 2)], dim=1)
            outputs.append(x)
        return self._finish(outputs)

    def spread_mask(self, masked: Tensor) -> Tensor:
        """Patches and patch embeddings are one and the same: (E, N) bool -> itself."""
        return masked

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """OpenMMLab's contract: the three levels (B, C_l, h, w) of normalised images (B, 3, H, W), shallow to deep."""
        return self.encode_image(self.embed_image(images)).levels

    def select_weights(self, clip: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in clip.items() if name.startswith('visual.')}

    def _refuse_other_kinds(self) -> None:
        """Says so before anything is built, for some of them are large."""
        vision = self.config['vision_cfg']
        timm_name = vision.get('timm_model_name')
        if timm_name and not timm_vit_trunk.is_vit(timm_name):
            raise ValueError(_no_vit(self.name, timm_name))
        if not timm_name and isinstance(vision.get('layers'), (list, tuple)):
            raise ValueError(_no_vit(self.name, 'resnet50_clip.openai', 'ResNet'))
        if not timm_name:
            patch = vision.get('patch_size', 16)
            self._check_multiple(to_2tuple(patch))

    def _check_multiple(self, patch: tuple[int, int]) -> None:
        if any(length % side for length, side in zip(self.image_size, patch)):
            side = patch[0] if patch[0] == patch[1] else tuple(patch)
            raise ValueError(f'image_size {self.image_size} is no multiple of the patch size {side}.')

    def _build(self) -> nn.Module:
        vision: dict[str, Any] = dict(self.config['vision_cfg'], timm_model_pretrained=False)
        if not vision.get('timm_model_name'):
            vision['image_size'] = self.image_size
        try:
            visual = _build_vision_tower(self.config['embed_dim'], vision, self.config.get('quick_gelu', False))
        except (AssertionError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f'The image tower of {self.name} cannot be built: {error}') from error
        if isinstance(visual, TimmModel):
            self._check_multiple(timm_vit_trunk.patch_size(visual))
            visual.set_input_size(self.image_size)
        return visual

    @property
    def _spans(self) -> Iterator[Sequence[nn.Module]]:
        """The blocks before each level's end."""
        blocks = self._trunk.blocks(self.visual)
        ends = (0, *(index + 1 for index in self.out_indices), len(blocks))
        return (blocks[first:last] for first, last in pairwise(ends))

    def _run(self, blocks: Sequence[nn.Module], x: Tensor, options: dict[str, Any]) -> Tensor:
        recompute = self._trunk.recomputes(self.visual) and torch.is_grad_enabled()
        for block in blocks:
            x = checkpoint(block, x, use_reentrant=False, **options) if recompute else block(x, **options)
        return x

    def _finish(self, outputs: Sequence[Tensor]) -> VisualFeatures:
        """Three blocks' outputs (B, leading + N, D), the last one's the last."""
        shallow, middle = (x[:, self._trunk.leading_tokens(self.visual) :] for x in outputs[:2])
        patches, pooled = self._trunk.finish(self.visual, outputs[2])
        level3, level4, level5 = (self._to_map(level) for level in (shallow, middle, patches))
        return VisualFeatures(levels=(level3, level4, level5), patches=patches, pooled=pooled)

    def _to_map(self, tokens: Tensor) -> Tensor:
        return tokens.transpose(1, 2).unflatten(2, self.grid_size)  # (B, N, C) -> (B, C, h, w), channels last in memory

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: object) -> None:
        name = f'{prefix}visual.{self._trunk.POSITIONS}'
        if name in state_dict:
            state_dict[name] = resize_positions(state_dict[name], self.grid_size, self._trunk.prefix(self.visual))
        super()._load_from_state_dict(state_dict, prefix, *args)


def _no_vit(name: str, timm_name: str, kind: str = 'CNN or pyramid') -> str:
    return (
        f'The image tower of {name} is a {kind}, and this backbone needs a ViT. Such a one serves through '
        f"dict(type='ImageBackboneAdapter', backbone=dict(type='TimmBackbone', name='{timm_name}'))."
    )
