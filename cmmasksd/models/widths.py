"""Whether the parts of a segmentor fit one another, asked where they are put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn


def check_widths(
    backbone: nn.Module, text_encoder: nn.Module, neck: nn.Module, configs: Mapping[str, Mapping[str, Any]]
) -> None:
    """Compares what the configs of neck and decode head say of widths with what the other parts give.

    Args:
        backbone, text_encoder, neck: built; a part that does not say its widths is not asked.
        configs: ``dict(neck=..., decode_head=...)``.

    Raises:
        ValueError: a setting that does not fit; names it and what to write.
    """
    for part, setting, source, width in _expected(backbone, text_encoder, neck):
        given = configs[part].get(setting)
        if given is None or width is None:
            continue
        if (tuple(given) if isinstance(given, (list, tuple)) else given) != width:
            raise ValueError(
                f'model.{part}.{setting}={given} does not fit model.{source}, which gives {width}: set '
                f'model.{part}.{setting}={width}.'
            )


def _expected(
    backbone: nn.Module, text_encoder: nn.Module, neck: nn.Module
) -> Iterator[tuple[str, str, str, int | tuple[int, ...] | None]]:
    """The part and its setting, and the part whose width that is."""
    joint = getattr(text_encoder, 'out_channels', None)
    words = getattr(text_encoder, 'word_channels', getattr(text_encoder, 'embed_dims', None))
    yield 'neck', 'in_channels', 'backbone', getattr(backbone, 'out_channels', None)
    yield 'neck', 'text_channels', 'text_encoder', joint
    yield 'decode_head', 'text_channels', 'text_encoder', joint
    yield 'decode_head', 'word_channels', 'text_encoder', words
    yield 'decode_head', 'channels', 'neck', getattr(neck, 'out_channels', None)
