"""ETRIS's bridge: behind each third of the two encoders' depth pixels and words learn of one another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from mmengine.model import BaseModule
from torch import Tensor, nn

from cmmasksd.models.convolutions import scaling_convolution
from cmmasksd.models.layers import BatchNorm, MultiheadAttention
from cmmasksd.models.stages import advance
from cmmasksd.registry import MODELS
from cmmasksd.structures import TextFeatures, VisualFeatures

Exchange = Literal['transformer', 'product']
Narrow = tuple[Tensor, Tensor]


@MODELS.register_module()
class StageBridge(BaseModule):
    """The bridger of ETRIS (ICCV 2023); its numbers are those of the public code, https://github.com/kkakkkka/ETRIS.

    Behind each stage the image's map is brought to ``channels`` on one grid and the words to ``channels``; from the
    second stage on what the stage before brought is added. Then pixels look up words and words look up pixels, both at
    once, and what they found is brought back to each encoder's width and added to what goes on. All L tokens take part,
    padding too. ETRIS freezes the encoders and trains the bridge.

    Args:
        channels: width of the exchange.
        num_heads: heads of its attentions.
        scales: from each stage's map to the common grid: 0.5, 1 or 2, a number a stage; the maps of ResNet's stages at
            strides 8, 16 and 32 come to 16 by (0.5, 1, 2), those of a ViT by (1, 1, 1).
        exchange: ``transformer``: each side is the target of a transformer decoder layer, whose memory is the other
            (ETRIS on ResNets); ``product``: each is multiplied by what it looks up (ETRIS on ViTs).
        normalise: batch norm and ReLU behind the convolutions that change the map's width (ETRIS on ViTs).
        feedforward_channels: width of the decoder layers' feed-forward network.
        dropout: of the decoder layers.
        encoders: the image and the text encoder, both with ``encode_in_stages`` and ``stage_channels``; the segmentor
            hands them in.

    Raises:
        ValueError: an unknown exchange, a number of scales that is not the image encoder's of stages, or an encoder
            that does not stop between its stages, or cannot.
    """

    def __init__(
        self,
        channels: int = 64,
        num_heads: int = 4,
        scales: Sequence[float] = (0.5, 1, 2),
        exchange: Exchange = 'transformer',
        normalise: bool = False,
        feedforward_channels: int = 128,
        dropout: float = 0.1,
        encoders: tuple[nn.Module, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        image, text = _staged(encoders)
        if exchange not in get_args(Exchange):
            raise ValueError(f"exchange is 'transformer' or 'product', got {exchange!r}.")
        widths, text_widths = image.stage_channels, text.stage_channels
        if len(scales) != len(widths):
            raise ValueError(
                f'scales has {len(scales)} numbers and the image encoder {len(widths)} stages: give one for each.'
            )
        sizes: dict[str, Any] = dict(channels=channels, num_heads=num_heads, normalise=normalise)
        if exchange == 'transformer':
            sizes |= dict(feedforward_channels=feedforward_channels, dropout=dropout)
        self.crossings = nn.ModuleList(
            Crossing(width, text_width, scale, follows=place > 0, **sizes)
            for place, (width, text_width, scale) in enumerate(zip(widths, text_widths, scales, strict=True))
        )

    def init_weights(self) -> None:
        """ETRIS's initialisation: linear layers normal (0.02), convolutions by Kaiming's rule over what goes out."""
        super().init_weights()
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
            elif isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_normal_(layer.weight, mode='fan_out', nonlinearity='relu')

    def forward(
        self,
        backbone: Any,
        text_encoder: Any,
        patch_embeddings: Tensor,
        word_embeddings: Tensor,
        input_ids: Tensor,
        image_index: Tensor | None = None,
    ) -> tuple[VisualFeatures, TextFeatures]:
        """Runs both encoders, stage by stage, for E pairs; before they first meet, an image is run once.

        Args:
            backbone, text_encoder: those that the bridge was built for.
            patch_embeddings: (B, M, D).
            word_embeddings: (E, L, D_t).
            input_ids: (E, L).
            image_index: (E,) the image of each expression; None: one expression an image, in order.

        Raises:
            ValueError: ``scales`` that bring the stages' maps to different grids.
        """
        image = backbone.encode_in_stages(patch_embeddings, image_index)
        text = text_encoder.encode_in_stages(word_embeddings, input_ids)
        maps, words, before = next(image), next(text), None
        for crossing in self.crossings:
            to_image, to_text, before = crossing(maps, words, before)
            maps, words = advance(image, to_image), advance(text, to_text)
        return maps, words  # behind the last stage these are the features


class Crossing(nn.Module):
    """What passes between the encoders behind one stage.

    Args:
        image_channels, text_channels: widths of the map and of the words.
        scale: from the map to the common grid.
        follows: whether a stage before brought something.
        channels, num_heads, normalise: see :class:`StageBridge`.
        feedforward: sizes of the decoder layers; none: products.
    """

    def __init__(
        self,
        image_channels: int,
        text_channels: int,
        scale: float,
        follows: bool,
        channels: int,
        num_heads: int,
        normalise: bool,
        **feedforward: Any,
    ) -> None:
        super().__init__()
        self.narrow_image = _convolution(image_channels, channels, scale, normalise)
        self.widen_image = _convolution(channels, image_channels, 1 / scale, normalise)
        self.narrow_text = nn.Linear(text_channels, channels)
        self.widen_text = nn.Linear(channels, text_channels)
        self.image_norm = nn.LayerNorm(channels) if follows else None
        self.text_norm = nn.LayerNorm(channels) if follows else None
        self.tell_image, self.tell_text = (_exchange(channels, num_heads, **feedforward) for _ in range(2))

    def forward(self, maps: Tensor, words: Tensor, before: Narrow | None) -> tuple[Tensor, Tensor, Narrow]:
        """Map (E, D, h, w) and words (E, L, D_t) -> what to add to each, and both as they met, for the next stage."""
        narrow = self.narrow_image(maps)
        pixels, tokens = narrow.flatten(2).transpose(1, 2), self.narrow_text(words)
        if before is not None and self.image_norm is not None and self.text_norm is not None:
            if before[0].shape != pixels.shape:
                raise ValueError(
                    f'The stages meet on grids of {before[0].shape[1]} and {pixels.shape[1]} points: give StageBridge '
                    'scales that bring all maps to one grid, (0.5, 1, 2) for a ResNet, (1, 1, 1) for a ViT.'
                )
            pixels, tokens = self.image_norm(pixels + before[0]), self.text_norm(tokens + before[1])
        told = self.tell_image(pixels, tokens).transpose(1, 2).unflatten(2, narrow.shape[2:])
        return self.widen_image(told), self.widen_text(self.tell_text(tokens, pixels)), (pixels, tokens)


class Product(nn.Module):
    """Multiplies what asks by what it looks up."""

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.attention = MultiheadAttention(channels, num_heads)

    def forward(self, asking: Tensor, asked: Tensor) -> Tensor:
        """(E, Q, channels) and (E, K, channels) -> (E, Q, channels)."""
        return asking * self.attention(asking, asked, asked)[0]


def _exchange(channels: int, num_heads: int, feedforward_channels: int = 0, dropout: float = 0.0) -> nn.Module:
    if not feedforward_channels:
        return Product(channels, num_heads)
    return nn.TransformerDecoderLayer(channels, num_heads, feedforward_channels, dropout, batch_first=True)


def _convolution(in_channels: int, out_channels: int, scale: float, normalise: bool) -> nn.Module:
    convolution = scaling_convolution(in_channels, out_channels, scale)
    return nn.Sequential(convolution, BatchNorm(out_channels), nn.ReLU(inplace=True)) if normalise else convolution


def _staged(encoders: tuple[nn.Module, nn.Module] | None) -> tuple[Any, Any]:
    if encoders is None:
        raise ValueError('StageBridge is built by a segmentor, which hands its encoders in.')
    for encoder in encoders:
        if not hasattr(encoder, 'encode_in_stages'):
            raise ValueError(
                f'{type(encoder).__name__} does not stop between its stages (encode_in_stages), as a bridge needs: '
                'OpenCLIPResNet, OpenCLIPVisionTransformer and OpenCLIPTextTransformer do.'
            )
    return encoders
