"""DETRIS's adapters, which let frozen encoders learn: densely joined convolutions beside a block's feed-forward network
(AAAI 2025; ``model/adapter.py`` of its public code).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmmasksd.models.layers import BatchNorm, MultiheadAttention

SCALE = 0.2  # of what an adapter gives, beside what the feed-forward network gives


class DenseConvolutions(nn.Module):
    """Three branches of convolutions, 1, 3 and 5 wide, each of which sees what those before it gave.

    Args:
        channels: width; half of it comes from the first branch, a quarter from each of the others.
        axes: 1: of tokens in a row; 2: of a map.
    """

    def __init__(self, channels: int, axes: Literal[1, 2]) -> None:
        super().__init__()
        half, quarter, narrow = channels // 2, channels // 4, channels // 16
        if narrow < 1 or half + 2 * quarter != channels:
            raise ValueError(f'An adapter is a multiple of 4 and at least 16 channels wide, got {channels}.')
        self.branch1 = _convolution(axes, channels, half, 1)
        self.branch2 = nn.Sequential(
            _convolution(axes, channels + half, narrow, 1), _convolution(axes, narrow, quarter, 3)
        )
        self.branch3 = nn.Sequential(
            _convolution(axes, channels + half + quarter, narrow, 1), _convolution(axes, narrow, quarter, 5)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(E, channels, ...) -> the same shape."""
        first = self.branch1(x)
        second = self.branch2(torch.cat([x, first], dim=1))
        third = self.branch3(torch.cat([x, first, second], dim=1))
        return torch.cat([first, second, third], dim=1)


class TextAdapter(nn.Module):
    """Adapter of a text encoder's block; the first token, SOT, is not convolved.

    Args:
        width: of the tokens, D_t.
        channels: of the adapter.
    """

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.narrow = nn.Linear(width, channels)
        self.dense = DenseConvolutions(channels, axes=1)
        self.widen = nn.Linear(channels, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(E, L, D_t) -> what to add to it, the same shape."""
        x = F.relu(self.narrow(tokens))
        seen = self.dense(x[:, 1:].transpose(1, 2)).transpose(1, 2)
        return SCALE * self.widen(x + torch.cat([x[:, :1], seen], dim=1))


class ImageAligner(nn.Module):
    """Adapter of an image encoder's block, the "dense aligner": behind the convolutions pixels look up the words.

    Args:
        width: of the patches, D.
        channels: of the adapter.
        word_channels: width D_t of the words.
        attention_channels: width of the attention.
        num_heads: its heads.
        dropout: in it.
    """

    def __init__(
        self,
        width: int,
        channels: int,
        word_channels: int,
        attention_channels: int = 128,
        num_heads: int = 8,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.narrow = nn.Linear(width, channels)
        self.dense = DenseConvolutions(channels, axes=2)
        self.image_projection = nn.Linear(channels, attention_channels)
        self.text_projection = nn.Linear(word_channels, attention_channels)
        self.attention = MultiheadAttention(attention_channels, num_heads, dropout)
        self.answer = nn.Linear(attention_channels, channels)
        self.widen = nn.Linear(channels, width)
        for layer in self.modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d)):
                nn.init.kaiming_normal_(layer.weight, nonlinearity='relu')
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, tokens: Tensor, words: Tensor, grid_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """What to add to the tokens, and what the patches ask of the words.

        Args:
            tokens: (E, leading + h * w, D).
            words: (E, L, D_t); all of them are keys, padding too, as there.
            grid_size: h, w.

        Returns:
            (E, leading + h * w, D) and (E, h * w, attention_channels).
        """
        x = F.relu(self.narrow(tokens))
        leading = x.shape[1] - grid_size[0] * grid_size[1]
        maps = x[:, leading:].transpose(1, 2).unflatten(2, grid_size)
        asking = self.image_projection((self.dense(maps) + maps).flatten(2).transpose(1, 2))
        keys = self.text_projection(words)
        heard = self.answer(self.attention(asking, keys, keys)[0])
        return SCALE * self.widen(x + torch.cat([x[:, :leading], heard], dim=1)), asking

    def in_words(self, asking: Tensor) -> Tensor:
        """What patches ask (E, N, attention_channels) as vectors (E, N, D_t) whose product with a word is, but for a
        constant of the patch, the sum over the heads of their scores with that word.
        """
        query, key, _ = self.attention.in_proj_weight.chunk(3)
        bias = self.attention.in_proj_bias.chunk(3)[0]
        return F.linear(asking, query, bias) @ key @ self.text_projection.weight


def _convolution(axes: int, in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    kind = nn.Conv1d if axes == 1 else nn.Conv2d
    convolution = kind(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
    return nn.Sequential(convolution, BatchNorm(out_channels, eps=1e-3), nn.ReLU(inplace=True))
