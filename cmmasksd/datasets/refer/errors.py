"""What is wrong with annotations: errors and warnings, and where they were met."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class ReferError(ValueError):
    """Annotations that cannot be used as they are; the message names the file, the record and the mend."""


class ReferWarning(UserWarning):
    """Annotations that can be used, but are not quite what was published or asked for."""


ErrorHandler = Callable[[str, ReferError], None]  # what is done with the error of a place, a file and record


@contextmanager
def located(place: str, on_error: ErrorHandler | None = None) -> Iterator[None]:
    """Puts ``place``, a file and record, before the message of a ReferError raised inside; with a handler, gives both
    to it and goes on.
    """
    try:
        yield
    except ReferError as error:
        if on_error is None:
            raise ReferError(f'{place}: {error}') from None
        on_error(place, error)
