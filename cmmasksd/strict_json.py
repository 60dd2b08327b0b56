"""JSON that every reader takes: what is not a finite number is ``null``, for JSON has no NaN and no infinity.

Its import replaces mmengine's writer of JSON, which the logger and the visualizer's backend use.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from mmengine.fileio import JsonHandler, register_handler


def to_json(content: Any, **options: Any) -> str:
    """The text of plain data; NaN and infinities become ``null``. ``options`` are those of ``json.dumps``."""
    return json.dumps(_finite(content), allow_nan=False, **options)


def _finite(value: Any) -> Any:
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, np.ndarray):
        return _finite(value.tolist())
    return [_finite(each) for each in value] if isinstance(value, (list, tuple)) else value


@register_handler('json')
class StrictJsonHandler(JsonHandler):
    """mmengine's reader and writer of JSON, but for numbers that are not finite."""

    def dump_to_fileobj(self, obj: Any, file: IO[str], **options: Any) -> None:
        """Writes to an open file."""
        super().dump_to_fileobj(_finite(obj), file, allow_nan=False, **options)

    def dump_to_str(self, obj: Any, **options: Any) -> str:
        """The text."""
        return super().dump_to_str(_finite(obj), allow_nan=False, **options)
