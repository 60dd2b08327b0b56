"""Builds a model's parts from configs, ours and borrowed ones."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from mmengine.registry import DefaultScope
from torch import nn

from cmmasksd.registry import MODELS


def build_part(config: Mapping[str, Any], **defaults: Any) -> nn.Module:
    """Builds a part; a borrowed one (``mmseg.FCNHead``) looks its own parts up in its own project.

    Args:
        config: with ``type``, bare for our parts and with its project's scope for others.
        defaults: arguments where the config names none.

    Raises:
        ImportError: the other project cannot be imported.
    """
    scope = scope_of(config)
    try:
        with DefaultScope.overwrite_default_scope(scope) if scope else nullcontext():
            return MODELS.build(dict(config), default_args=defaults)
    except ImportError as error:
        if scope in (None, 'cmmasksd'):
            raise
        raise ImportError(
            f"'{config['type']}' needs a {scope} whose models can be imported, and this one's cannot ({error}). "
            'The official packages need mmcv with compiled ops for it; the maintained forks (pip install '
            "'cmmasksd[onedl]') do not."
        ) from error


def scope_of(config: Mapping[str, Any]) -> str | None:
    """The project that a config's type is borrowed from, such as ``mmseg``; None where none is named."""
    kind = config.get('type')
    return kind.partition('.')[0] if isinstance(kind, str) and '.' in kind else None
