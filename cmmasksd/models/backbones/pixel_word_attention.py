"""LAVT's fusion after a stage of the image tower: each pixel looks up the words, and a gate lets the result in."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from cmmasksd.models.attention import attend


class PixelWordAttention(nn.Module):
    """LAVT's pixel-word attention module (PWAM; CVPR 2022, Sec. 3.2; ``lib/backbone.py`` of its public code).

    Pixels ask, words answer; what a pixel hears is multiplied by what it is. Queries and answers are normalised over
    the pixels of their image (instance norm). Scores are divided by the square root of the whole width, whatever the
    heads, as there.

    Args:
        channels: width D of the pixels.
        word_channels: width D_t of the words.
        num_heads: heads.
        dropout: after both projections.
    """

    def __init__(self, channels: int, word_channels: int, num_heads: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.image = nn.Sequential(nn.Linear(channels, channels), nn.GELU(), nn.Dropout(dropout))
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(word_channels, channels)
        self.value = nn.Linear(word_channels, channels)
        self.answer = nn.Linear(channels, channels)
        self.output = nn.Sequential(nn.Linear(channels, channels), nn.GELU(), nn.Dropout(dropout))

    def forward(self, pixels: Tensor, words: Tensor, padding: Tensor) -> Tensor:
        """What the words say of each pixel.

        Args:
            pixels: (E, N, D).
            words: (E, L, D_t).
            padding: (E, L) bool, True where there is no token.

        Returns:
            (E, N, D).
        """
        heads = (self.ask(pixels), self.key(words), self.value(words))
        query, key, value = (each.unflatten(2, (self.num_heads, -1)).transpose(1, 2) for each in heads)
        heard = attend(query, key, value, attn_mask=~padding[:, None, None], scale=pixels.shape[2] ** -0.5)
        return self.output(self.image(pixels) * over_pixels(self.answer(heard.transpose(1, 2).flatten(2))))

    def ask(self, pixels: Tensor) -> Tensor:
        """What each pixel asks of the words: queries (E, N, D), normalised over the pixels."""
        return over_pixels(self.query(pixels))

    def in_words(self, queries: Tensor) -> Tensor:
        """Queries (E, N, D) as vectors (E, N, D_t) whose product with a word is, but for a constant of the query, what
        the query's product with that word's key is.
        """
        return queries @ self.key.weight


class LanguageGate(nn.Sequential):
    """LAVT's language pathway (Sec. 3.3): how much of what the words say goes on into the next stage, per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Linear(channels, channels, bias=False), nn.ReLU(), nn.Linear(channels, channels, bias=False), nn.Tanh()
        )


def over_pixels(features: Tensor) -> Tensor:
    """Instance norm of (E, N, D): each channel has mean 0 and variance 1 over the N pixels."""
    return F.instance_norm(features.transpose(1, 2)).transpose(1, 2)
