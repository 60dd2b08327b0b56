"""Settings and the ranges that they may have."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from numbers import Real
from typing import Any


class ConfigError(ValueError):
    """A setting that cannot be, or two that contradict one another; the message names them and the mend."""


def check_number(
    value: Any, name: str, at_least: float | None = None, above: float | None = None, at_most: float | None = None
) -> None:
    """Makes sure that a setting is a finite number in its range.

    Args:
        value: what the config holds.
        name: the setting as ``--cfg-options`` names it.
        at_least, above, at_most: its bounds; None: none.

    Raises:
        ConfigError: it is no number, not finite, or out of range.
    """
    bounds = (('at least', at_least), ('above', above), ('at most', at_most))
    wanted = ' and '.join(f'{word} {bound:g}' for word, bound in bounds if bound is not None)
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise ConfigError(f'{name}={value!r}: write a finite number{", " * bool(wanted)}{wanted}.')
    too_low = (at_least is not None and value < at_least) or (above is not None and value <= above)
    if too_low or (at_most is not None and value > at_most):
        raise ConfigError(f'{name}={value!r}: write a number {wanted}.')


def check_whole(value: Any, name: str, at_least: int) -> None:
    """The same for a whole number."""
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise ConfigError(f'{name}={value!r}: write a whole number, at least {at_least}.')


def check_known(keys: Iterable[str], known: Iterable[str], where: str, mend: str = '') -> None:
    """Makes sure that every key of a part of the config means something; ``_scope_``, which mmengine writes into a base
    of another package, does everywhere.

    Raises:
        ConfigError: one does not; names the nearest one that does.
    """
    known = sorted(known)
    for key in keys:
        if key in known or key == '_scope_':
            continue
        by_letters = {name.lower(): name for name in known}
        nearest = difflib.get_close_matches(str(key).lower(), by_letters, n=1)
        meant = f'write {by_letters[nearest[0]]}' if nearest else f'it has {", ".join(known)}'
        raise ConfigError(f'{where} has no setting {key!r}: {mend or meant}.')
