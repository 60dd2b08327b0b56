"""The model of a published config, without weights."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

from cmmasksd.checkpoints.state_dicts import brief
from cmmasksd.published.errors import PublishedError
from cmmasksd.registry import MODELS, SCOPE

# what modules raise where a number is none, does not fit another, or asks for more memory than there is
FAILURES = (TypeError, ValueError, KeyError, AttributeError, IndexError, RuntimeError, AssertionError, ArithmeticError)


def build_published(config: Config) -> nn.Module:
    """Builds the model of a config that :func:`~cmmasksd.published.read_published` gave.

    Raises:
        PublishedError: arguments with which it cannot be built.
        ImportError: it needs transformers, which is not installed.
    """
    try:
        with DefaultScope.overwrite_default_scope(SCOPE):
            return MODELS.build(config.model)
    except FAILURES as error:
        raise PublishedError(
            f'The published model cannot be built of its config.json ({brief(error)}): publish it anew, or install the '
            'versions of its time'
        ) from error
