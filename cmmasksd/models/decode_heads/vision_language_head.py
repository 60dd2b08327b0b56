"""CRIS's vision-language decoder and its projector, whose kernel the sentence writes."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from cmmasksd.models.convolutions import UpsampleConvBNReLU
from cmmasksd.models.layers import MultiheadAttention
from cmmasksd.models.losses import LossConfig, MaskLoss
from cmmasksd.registry import MODELS


@MODELS.register_module()
class VisionLanguageDecodeHead(BaseModule):
    """Vision-Language Decoder(F, W_local) of Eq. 2: pixels attend to one another and to the words, then to a mask
    (CRIS).

    Args:
        channels: width of the fused map and of the decoder.
        word_channels: width D_t of the words; keys and values of the cross-attention keep it.
        text_channels: width C of the sentence feature.
        num_layers: decoder layers.
        num_heads: heads of each attention.
        feedforward_channels: width of the feed-forward network.
        dropout: in attention, feed-forward and residual paths.
        loss_decode: the loss or losses of the main branch; see :class:`~cmmasksd.models.losses.MaskLoss`.
    """

    def __init__(
        self,
        channels: int = 512,
        word_channels: int = 512,
        text_channels: int = 512,
        num_layers: int = 3,
        num_heads: int = 8,
        feedforward_channels: int = 2048,
        dropout: float = 0.1,
        loss_decode: LossConfig = None,
    ) -> None:
        super().__init__()
        self.loss_decode = MaskLoss(loss_decode)
        self.layers = nn.ModuleList(
            DecoderLayer(channels, word_channels, num_heads, feedforward_channels, dropout) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(channels)
        self.projector = Projector(channels, text_channels)

    def forward(self, fused: Tensor, words: Tensor, padding: Tensor, sentence: Tensor) -> Tensor:
        """Segments.

        Args:
            fused: (E, channels, h, w) from the neck.
            words: (E, L, D_t).
            padding: (E, L) bool, True at the positions after EOT, which are not attended to.
            sentence: (E, C).

        Returns:
            logits (E, 1, 4h, 4w), float32.
        """
        pixels = fused.flatten(2).transpose(1, 2)  # (E, h*w, channels)
        pixel_positions = sine_positions_2d(*fused.shape[1:], device=fused.device).to(fused.dtype)
        keys = words + sine_positions(words.shape[1], words.shape[2], device=words.device).to(words.dtype)
        for layer in self.layers:
            pixels = layer(pixels, pixel_positions, keys, words, padding)
        return self.projector(self.norm(pixels).transpose(1, 2).unflatten(2, fused.shape[2:]), sentence)


class DecoderLayer(nn.Module):
    """Self-attention of the pixels, cross-attention to the words, feed-forward; each with a norm before and
    (attention) one after.
    """

    def __init__(
        self, channels: int, word_channels: int, num_heads: int, feedforward_channels: int, dropout: float
    ) -> None:
        super().__init__()
        self.self_attention = MultiheadAttention(channels, num_heads, dropout)
        self.cross_attention = MultiheadAttention(channels, num_heads, dropout, kdim=word_channels, vdim=word_channels)
        self.feedforward = nn.Sequential(
            nn.Linear(channels, feedforward_channels),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.LayerNorm(feedforward_channels),
            nn.Linear(feedforward_channels, channels),
        )
        self.self_attention_norm = nn.LayerNorm(channels)
        self.cross_attention_norm = nn.LayerNorm(channels)
        self.norm1 = nn.LayerNorm(channels)
        self.norm2 = nn.LayerNorm(channels)
        self.norm3 = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, pixels: Tensor, pixel_positions: Tensor, keys: Tensor, words: Tensor, padding: Tensor) -> Tensor:
        """(E, h*w, channels) -> the same; ``keys`` are the words with their positions (E, L, D_t)."""
        x = self.norm1(pixels)
        query = x + pixel_positions
        pixels = pixels + self.dropout(self.self_attention_norm(self.self_attention(query, query, x)[0]))
        query = self.norm2(pixels) + pixel_positions
        pixels = pixels + self.dropout(
            self.cross_attention_norm(self.cross_attention(query, keys, words, key_padding_mask=padding)[0])
        )
        return pixels + self.dropout(self.feedforward(self.norm3(pixels)))


class Projector(nn.Module):
    """Upsamples the decoder's map x4 and convolves it with a 3x3 kernel that is a linear function of the sentence."""

    def __init__(self, channels: int, text_channels: int, kernel_size: int = 3) -> None:
        super().__init__()
        half = channels // 2
        self.kernel_size = kernel_size
        self.upsample = nn.Sequential(UpsampleConvBNReLU(channels, channels), UpsampleConvBNReLU(channels, half))
        self.mix = nn.Linear(half, half)
        self.kernel = nn.Linear(text_channels, half * kernel_size**2 + 1)

    def forward(self, features: Tensor, sentence: Tensor) -> Tensor:
        """(E, channels, h, w) and (E, C) -> logits (E, 1, 4h, 4w), float32.

        The kernel of each expression is applied as a product over channels followed by a sum of shifted maps. The
        pointwise ``mix`` that CRIS runs over every pixel before it is linear too, so it is folded into the kernel: the
        same function, without a pass over the pixels.
        """
        pixels = self.upsample(features)  # (E, half, 4h, 4w)
        parameters = self.kernel(sentence)
        # (E, half, 9), (E,)
        kernel, bias = parameters[:, :-1].unflatten(1, (-1, self.kernel_size**2)), parameters[:, -1]
        offset = self.mix.bias.to(kernel.dtype) @ kernel  # (E, 9)
        kernel = self.mix.weight.T.to(kernel.dtype) @ kernel  # (E, half, 9)
        products = (pixels.flatten(2).transpose(1, 2) @ kernel).float() + offset[:, None].float()  # (E, 16hw, 9)
        # fold() adds tap k of pixel p at p + k; a convolution reads it at p - k: hence the reversed taps.
        logits = F.fold(
            products.flip(2).transpose(1, 2), pixels.shape[2:], self.kernel_size, padding=self.kernel_size // 2
        )
        return logits + bias[:, None, None, None].float()


def sine_positions(length: int, channels: int, device: torch.device | str | None = None) -> Tensor:
    """Sine and cosine positions (length, channels), interleaved, wavelengths 2 pi to 10000 * 2 pi (Vaswani et al.,
    2017).
    """
    position = torch.arange(length, device=device, dtype=torch.float32)[:, None]
    frequency = torch.exp(
        torch.arange(0, channels, 2, device=device, dtype=torch.float32) * (-math.log(10000.0) / channels)
    )
    angle = position * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)


def sine_positions_2d(channels: int, height: int, width: int, device: torch.device | str | None = None) -> Tensor:
    """Positions (height * width, channels) of a grid, row by row: the first half of the channels counts columns, the
    second rows.
    """
    columns = sine_positions(width, channels // 2, device).expand(height, width, -1)
    rows = sine_positions(height, channels // 2, device)[:, None].expand(height, width, -1)
    return torch.cat([columns, rows], dim=2).flatten(0, 1)
