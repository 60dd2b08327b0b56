"""Python's cyclic garbage collector, held back while many records are made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused_collector() -> Iterator[None]:
    """Holds the cyclic collector back inside, and leaves it as it was.

    It walks all records again and again while they are made, a third of the time of loading RefCOCO, and finds nothing:
    they hold no cycles.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
