"""DETRIS's image encoder: a frozen DINOv2 whose adapters read the sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import timm
import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.model import BaseModule
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cmmasksd.checkpoints import load_checkpoint_file
from cmmasksd.checkpoints.state_dicts import compare
from cmmasksd.models.adapters import ImageAligner
from cmmasksd.models.backbones.dinov2_weights import rename_dinov2
from cmmasksd.registry import MODELS
from cmmasksd.structures import TextFeatures, VisualFeatures, gather_images

OFFSET = 0.1  # that DINOv2 adds to a grid's sides where it scales its positions


@MODELS.register_module()
class LanguageAlignedViT(BaseModule):
    """The image encoder of DETRIS (AAAI 2025): its numbers are those of the public code,
    https://github.com/jiaqihuang01/DETRIS.

    Beside the feed-forward network of some blocks an adapter convolves the patches and lets them look up the words (see
    :class:`~cmmasksd.models.adapters.ImageAligner`). DETRIS freezes all but the adapters, by ``custom_keys`` of the
    optimiser's config. Blocks before the first adapter run once an image, for all of its expressions. Positions are
    kept on the grid of the weights and scaled at each forward, as DINOv2 does.

    There is no joint space of image and text. The last adapter's attention has one: ``patches`` are what the patches
    ask there, in the words' own space (``in_words``), and ``pooled`` is their mean, weighted by how they agree with the
    last token of the sentence. So the branches correlate what the main branch learns to correlate, and there are no
    parameters but DETRIS's.

    Args:
        architecture: timm's name of a plain ViT with register tokens: ``vit_base_patch14_reg4_dinov2`` (D 768, 12
            blocks), ``vit_large_patch14_reg4_dinov2`` (D 1024, 24 blocks).
        image_size: the input's size, H and W, multiples of the patch.
        word_channels: width D_t of the words.
        adapter_layers: blocks, from 0, that have adapters.
        adapter_channels: their width.
        out_indices: blocks, from 0, whose outputs are the first two levels.
        options: further arguments of timm's model, such as ``depth``.
        pretrained: a file with DINOv2's published weights, or timm's, which :meth:`init_weights` reads; None: nowhere.
        activation_checkpointing: recompute each block in the backward pass.

    Attributes:
        needs_text: True: the segmentor hands the text in.
        embed_dims: width D.
        out_channels: widths of the three levels.

    Raises:
        ValueError: no such model, another kind of model, blocks that it has not, or an input that is no multiple of the
            patch.
    """

    needs_text = True

    def __init__(
        self,
        architecture: str = 'vit_base_patch14_reg4_dinov2',
        image_size: int | tuple[int, int] = 448,
        word_channels: int = 512,
        adapter_layers: Sequence[int] = (1, 3, 5, 7, 9, 11),
        adapter_channels: int = 128,
        out_indices: tuple[int, int] = (4, 8),
        options: dict[str, Any] | None = None,
        pretrained: str | None = None,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.trunk = _build(architecture, options or {})
        self.image_size = (image_size, image_size) if isinstance(image_size, int) else (image_size[0], image_size[1])
        patch, depth = self.trunk.patch_embed.patch_size, len(self.trunk.blocks)
        if any(side % length for side, length in zip(self.image_size, patch)):
            raise ValueError(f'image_size {self.image_size} is no multiple of the patch size {patch[0]}.')
        places = sorted(set(adapter_layers))
        if not places or min(*places, *out_indices) < 0 or max(*places, *out_indices) >= depth:
            raise ValueError(
                f'adapter_layers {list(adapter_layers)} and out_indices {tuple(out_indices)} are blocks from 0 to '
                f'{depth - 1}, and one adapter at least.'
            )
        self.pretrained = pretrained
        self.word_channels = word_channels
        self.out_indices = tuple(out_indices)
        self.grid_size = (self.image_size[0] // patch[0], self.image_size[1] // patch[1])
        self.embed_dims: int = self.trunk.embed_dim
        self.out_channels = (self.embed_dims,) * 3
        self.adapters = nn.ModuleDict(
            {str(place): ImageAligner(self.embed_dims, adapter_channels, word_channels) for place in places}
        )
        self.first_adapter = places[0]
        self.recompute = activation_checkpointing

    def init_weights(self) -> None:
        """Loads the weights named by ``pretrained`` into all but the adapters.

        Raises:
            ValueError: weights of another ViT.
        """
        super().init_weights()
        if self.pretrained is None:
            return
        content = load_checkpoint_file(self.pretrained)
        weights = rename_dinov2(content.get('state_dict', content))
        if faults := compare({name: tensor.shape for name, tensor in self.trunk.state_dict().items()}, weights):
            raise ValueError(
                f"pretrained='{self.pretrained}' does not hold the weights of this ViT: {faults}. Give those of its "
                'architecture, such as dinov2_vitb14_reg4_pretrain.pth for vit_base_patch14_reg4_dinov2.'
            )
        self.trunk.load_state_dict(weights)
        print_log(f"LanguageAlignedViT: loaded the weights '{self.pretrained}'.", logger='current')

    def embed_image(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> patch embeddings (B, N, D), before positions are added."""
        if tuple(images.shape[-2:]) != self.image_size:
            raise ValueError(
                f'The image encoder was built for inputs of {self.image_size}, got {tuple(images.shape[-2:])}: let the '
                "pipeline's LetterboxResize.size and the backbone's image_size agree."
            )
        return self.trunk.patch_embed.proj(images).flatten(2).transpose(1, 2)

    def encode_image(
        self, patch_embeddings: Tensor, text: TextFeatures | None = None, image_index: Tensor | None = None
    ) -> VisualFeatures:
        """Patch embeddings (B, N, D), masked or not, and E sentences -> three levels and the patches of E expressions.

        Raises:
            ValueError: no text, or words of another width.
        """
        if text is None:
            raise ValueError('LanguageAlignedViT reads the sentence with the image: encode_image needs its text.')
        if text.words.shape[2] != self.word_channels:
            raise ValueError(
                f'LanguageAlignedViT was built for words of width {self.word_channels}, and got {text.words.shape[2]}: '
                f'set its word_channels={text.words.shape[2]}.'
            )
        x, levels, asking = self._start(patch_embeddings), [], None
        for place, block in enumerate(self.trunk.blocks):
            if place == self.first_adapter:
                x = gather_images(x, image_index)
            x, asked = self._run(block, x, text.words, str(place))
            asking = asking if asked is None else asked
            if place in self.out_indices:
                levels.append(x if place >= self.first_adapter else gather_images(x, image_index))
        patches, pooled = self._ask(asking, text)
        levels.append(self.trunk.norm(x))
        leading = self.trunk.num_prefix_tokens
        maps = (level[:, leading:].transpose(1, 2).unflatten(2, self.grid_size) for level in levels)
        return VisualFeatures(levels=tuple(maps), patches=patches, pooled=pooled, in_words=True)

    def spread_mask(self, masked: Tensor) -> Tensor:
        """Patches and patch embeddings are one and the same: (E, N) bool -> itself."""
        return masked

    def forward(self, images: Tensor, text: TextFeatures, image_index: Tensor | None = None) -> tuple[Tensor, ...]:
        """The three levels (E, D, h, w)."""
        return self.encode_image(self.embed_image(images), text, image_index).levels

    def _start(self, patch_embeddings: Tensor) -> Tensor:
        """(B, N, D) -> the blocks' input (B, leading + N, D): positions, [class] and the registers added."""
        trunk, count = self.trunk, patch_embeddings.shape[0]
        x = patch_embeddings + self._positions().to(patch_embeddings.dtype)
        leading = [token.expand(count, -1, -1).to(x.dtype) for token in (trunk.cls_token, trunk.reg_token)]
        return trunk.norm_pre(torch.cat([*leading, x], dim=1))

    def _positions(self) -> Tensor:
        """(1, N, D) on this input's grid."""
        positions = self.trunk.pos_embed
        side = round(positions.shape[1] ** 0.5)
        if self.grid_size == (side, side):
            return positions
        maps = positions.transpose(1, 2).unflatten(2, (side, side))
        factors = tuple((length + OFFSET) / side for length in self.grid_size)
        return F.interpolate(maps, scale_factor=factors, mode='bicubic').flatten(2).transpose(1, 2)

    def _run(self, block: nn.Module, x: Tensor, words: Tensor, place: str) -> tuple[Tensor, Tensor | None]:
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(self._run_block, block, x, words, place, use_reentrant=False)
        return self._run_block(block, x, words, place)

    def _run_block(self, block: Any, x: Tensor, words: Tensor, place: str) -> tuple[Tensor, Tensor | None]:
        """One block with its adapter, if it has one: tokens, and what patches ask of the words."""
        if place not in self.adapters:
            return block(x), None
        x = x + block.drop_path1(block.ls1(block.attn(block.norm1(x))))
        normed = block.norm2(x)
        added, asking = self.adapters[place](normed, words, self.grid_size)
        return x + block.drop_path2(block.ls2(block.mlp(normed) + added)), asking

    def _ask(self, asking: Tensor | None, text: TextFeatures) -> tuple[Tensor, Tensor]:
        """What patches ask of the words, in the words' space (E, N, D_t), and their mean (E, D_t)."""
        last: Any = self.adapters[list(self.adapters)[-1]]
        queries = last.in_words(asking)
        agreement = (queries @ text.last_word[..., None]) * last.attention.embed_dim**-0.5  # (E, N, 1)
        return queries, (agreement.softmax(dim=1) * queries).sum(dim=1)


def _build(architecture: str, options: dict[str, Any]) -> Any:
    """A ViT of timm, of DINOv2's kind."""
    if not timm.is_model(architecture):
        raise ValueError(
            f"timm has no model '{architecture}'; give a ViT with registers, such as 'vit_base_patch14_reg4_dinov2'."
        )
    trunk = timm.create_model(architecture, num_classes=0, **options)
    plain = type(trunk) is VisionTransformer and trunk.no_embed_class
    if not plain or trunk.reg_token is None or trunk.cls_token is None:
        raise ValueError(f"'{architecture}' is no plain ViT with a [class] token and registers, as DINOv2's are.")
    return trunk
