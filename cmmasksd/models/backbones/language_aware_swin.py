"""LAVT's image encoder: a Swin Transformer that reads the sentence after each of its stages."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchvision.models.swin_transformer import PatchMerging

from cmmasksd.models.backbones.pixel_word_attention import LanguageGate, PixelWordAttention
from cmmasksd.models.backbones.swin_weights import load_swin
from cmmasksd.models.backbones.window_attention import swin_block
from cmmasksd.registry import MODELS
from cmmasksd.structures import TextFeatures, VisualFeatures, gather_images

PATCH = 4  # pixels
DEEPEST = 32  # stride of the last stage


class SwinSizes(NamedTuple):
    """Sizes of a Swin Transformer: blocks and heads of its four stages, width of the first, side of the windows."""

    embed_dims: int
    depths: tuple[int, int, int, int]
    num_heads: tuple[int, int, int, int]
    window_size: int


SWINS = dict(
    tiny=SwinSizes(96, (2, 2, 6, 2), (3, 6, 12, 24), 7),
    small=SwinSizes(96, (2, 2, 18, 2), (3, 6, 12, 24), 7),
    base=SwinSizes(128, (2, 2, 18, 2), (4, 8, 16, 32), 12),
    large=SwinSizes(192, (2, 2, 18, 2), (6, 12, 24, 48), 12),
)


@MODELS.register_module()
class LanguageAwareSwin(BaseModule):
    """LAVT's Swin Transformer (CVPR 2022): its numbers are those of the public code,
    https://github.com/yz93/LAVT-RIS.

    After the blocks of each stage the pixels look up the words; the result is the stage's output, and, through a gate,
    joins what goes on to the next stage. So features depend on the sentence from the second stage on. The first
    stage's blocks do not: they run once an image, for all of its expressions.

    LAVT has no joint space of image and text. Its last attention has one: there a pixel's query meets the words' keys,
    [CLS] among them. ``patches`` are these queries, in the words' own space, and ``pooled`` is their mean, weighted by
    how they agree with the sentence (instance norm leaves their plain mean at 0). So the branches correlate what the
    main branch learns to correlate, and there are no parameters but LAVT's. It wants a text encoder whose sentence and
    tokens lie in the words' space: ``HuggingFaceTextEncoder(joint_channels=None)``.

    Embeddings are Swin's patches of 4 pixels. A mask on the deepest grid covers all embeddings below each point.

    Args:
        architecture: ``tiny``, ``small``, ``base``, ``large``, or such sizes: ``dict(embed_dims=..., depths=...,
            num_heads=..., window_size=...)``.
        image_size: the input's size, H and W, multiples of 32.
        word_channels: width D_t of the words.
        window_size: another side of the windows than the architecture's, which is that of the weights that LAVT starts
            from: 7 (tiny, small), 12 (base, large).
        fusion_heads: heads of the four pixel-word attentions.
        fusion_dropout: dropout in them.
        drop_path_rate: stochastic depth, of the last block; it grows from 0 at the first.
        pretrained: a file with Swin's published weights of image classification, which :meth:`init_weights` reads;
            None: nowhere.
        activation_checkpointing: recompute each block in the backward pass.

    Attributes:
        needs_text: True: the segmentor hands the text in.
        embed_dims: width D of the embeddings.
        out_channels: widths of the four levels.

    Raises:
        ValueError: an unknown architecture, or an input that is no multiple of 32.
    """

    needs_text = True

    def __init__(
        self,
        architecture: str | dict = 'base',
        image_size: int | tuple[int, int] = 480,
        word_channels: int = 768,
        window_size: int | None = None,
        fusion_heads: tuple[int, int, int, int] = (1, 1, 1, 1),
        fusion_dropout: float = 0.0,
        drop_path_rate: float = 0.3,
        pretrained: str | None = None,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.image_size = (image_size, image_size) if isinstance(image_size, int) else (image_size[0], image_size[1])
        if any(side % DEEPEST for side in self.image_size):
            raise ValueError(f'image_size {self.image_size} is no multiple of {DEEPEST}, which Swin divides it by.')
        sizes = _sizes(architecture)
        self.pretrained = pretrained
        self.word_channels = word_channels
        self.embed_dims = sizes.embed_dims
        self.out_channels = tuple(sizes.embed_dims * 2**stage for stage in range(4))
        self.grid_size = (self.image_size[0] // DEEPEST, self.image_size[1] // DEEPEST)
        self.stem_size = (self.image_size[0] // PATCH, self.image_size[1] // PATCH)
        self.patch_embed = nn.Conv2d(3, self.embed_dims, PATCH, stride=PATCH)
        self.patch_norm = nn.LayerNorm(self.embed_dims)
        rates = iter(np.linspace(0, drop_path_rate, sum(sizes.depths)).tolist())
        self.stages = nn.ModuleList(
            Stage(
                PatchMerging(channels // 2) if stage else nn.Identity(),
                [
                    swin_block(channels, sizes.num_heads[stage], window_size or sizes.window_size, place % 2 > 0, rate)
                    for place, rate in zip(range(sizes.depths[stage]), rates)
                ],
                PixelWordAttention(channels, word_channels, fusion_heads[stage], fusion_dropout),
                LanguageGate(channels) if stage < 3 else None,
                activation_checkpointing,
            )
            for stage, channels in enumerate(self.out_channels)
        )

    def init_weights(self) -> None:
        """Swin's and LAVT's own initialisation (truncated normal, 0.02), then the weights named by ``pretrained``.

        Raises:
            ValueError: weights of another Swin Transformer.
        """
        super().init_weights()
        convolutions = {name for name, _ in self.named_modules() if '.fusion.' in name}  # there, and so initialised
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Linear) and name not in convolutions:
                nn.init.trunc_normal_(layer.weight, std=0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        if self.pretrained is not None:
            load_swin(self, self.pretrained)

    def embed_image(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> embeddings of patches of 4 pixels (B, M, D)."""
        if tuple(images.shape[-2:]) != self.image_size:
            raise ValueError(
                f'The image encoder was built for inputs of {self.image_size}, got {tuple(images.shape[-2:])}: let the '
                "pipeline's LetterboxResize.size and the backbone's image_size agree."
            )
        return self.patch_norm(self.patch_embed(images).flatten(2).transpose(1, 2))

    def encode_image(
        self, patch_embeddings: Tensor, text: TextFeatures | None = None, image_index: Tensor | None = None
    ) -> VisualFeatures:
        """Embeddings (B, M, D), masked or not, and E sentences -> four levels and the patches of E expressions.

        Raises:
            ValueError: no text, or one of other widths.
        """
        if text is None:
            raise ValueError('LanguageAwareSwin reads the sentence with the image: encode_image needs its text.')
        widths = text.words.shape[2], text.sentence.shape[1]
        if widths != (self.word_channels, self.word_channels):
            raise ValueError(
                f'LanguageAwareSwin was built for words and sentences of width {self.word_channels}, and got '
                f'{widths[0]} and {widths[1]}: set its word_channels, and joint_channels=None of the text encoder.'
            )
        first, last = self.stages[0], self.stages[-1]
        x = first.look(patch_embeddings.unflatten(1, self.stem_size))  # of images; all that follows is of expressions
        x = gather_images(x.contiguous(), image_index)
        heard = [first.listen(x, text)]
        for before, stage in pairwise(self.stages):
            x = stage.look(before.let_in(x, heard[-1]))
            heard.append(stage.listen(x, text))
        patches, pooled = last.queries(x, text)
        levels = tuple(stage.level(each) for stage, each in zip(self.stages, heard))
        return VisualFeatures(levels=levels, patches=patches, pooled=pooled)

    def spread_mask(self, masked: Tensor) -> Tensor:
        """A mask on the patches (E, N) bool -> on the embeddings (E, M): each patch covers what lies below it."""
        coarse = masked.view(-1, 1, *self.grid_size).float()
        return F.interpolate(coarse, size=self.stem_size, mode='nearest').bool().flatten(1)

    def forward(self, images: Tensor, text: TextFeatures, image_index: Tensor | None = None) -> tuple[Tensor, ...]:
        """The four levels (E, C_l, h_l, w_l), at strides 4, 8, 16 and 32."""
        return self.encode_image(self.embed_image(images), text, image_index).levels


class Stage(nn.Module):
    """A stage of Swin, and how it reads the sentence. Maps are (E, h, w, C).

    Args:
        merge: patch merging before the blocks; nothing before the first stage.
        blocks: Swin's.
        fusion: pixels look up words.
        gate: what of it goes on into the next stage; None: there is none. (LAVT has a gate there too, which nothing
            reads: it would be a parameter without a gradient.)
        recompute: whether the backward pass runs each block again.
    """

    def __init__(
        self,
        merge: nn.Module,
        blocks: list[nn.Module],
        fusion: PixelWordAttention,
        gate: LanguageGate | None,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.merge = merge
        self.blocks = nn.ModuleList(blocks)
        self.fusion = fusion
        self.gate = gate
        self.norm = nn.LayerNorm(fusion.query.in_features)
        self.recompute = recompute

    def look(self, x: Tensor) -> Tensor:
        """Merges, and attends within windows."""
        x = self.merge(x)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.recompute and self.training else block(x)
        return x

    def listen(self, x: Tensor, text: TextFeatures) -> Tensor:
        """What the words say of each pixel: the same shape."""
        return self.fusion(x.flatten(1, 2), text.words, text.padding).view_as(x)

    def level(self, heard: Tensor) -> Tensor:
        """What was heard, as the stage's output (E, C, h, w)."""
        return self.norm(heard).permute(0, 3, 1, 2)

    def let_in(self, x: Tensor, heard: Tensor) -> Tensor:
        """What goes on into the next stage."""
        return x if self.gate is None else x + self.gate(heard) * heard

    def queries(self, x: Tensor, text: TextFeatures) -> tuple[Tensor, Tensor]:
        """What pixels ask, in the words' space (E, N, D_t), and their mean (E, D_t), weighted by the sentence."""
        queries = self.fusion.in_words(self.fusion.ask(x.flatten(1, 2)))
        agreement = (queries @ text.sentence[..., None]) * x.shape[3] ** -0.5  # (E, N, 1)
        return queries, (agreement.softmax(dim=1) * queries).sum(dim=1)


def _sizes(architecture: str | dict) -> SwinSizes:
    if isinstance(architecture, str):
        if architecture not in SWINS:
            raise ValueError(f'architecture is one of {", ".join(SWINS)}, or a dict of sizes, got {architecture!r}.')
        return SWINS[architecture]
    try:
        return SwinSizes(**architecture)
    except TypeError as error:
        raise ValueError(f'architecture={dict(architecture)!r}: give {", ".join(SwinSizes._fields)}.') from error
