"""What is wrong with a table, gathered row by row and told together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cmmasksd.datasets.refer.errors import ReferError

MAX_SHOWN = 50


class Problems:
    """The errors of a table's rows.

    Args:
        path: the table.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: list[str] = []

    @contextmanager
    def of_line(self, line: int) -> Iterator[None]:
        """Keeps a ReferError raised inside, with the table and the line in front."""
        try:
            yield
        except ReferError as error:
            self._lines.append(f'{self._path}, line {line}: {error}')

    def raise_any(self) -> None:
        """Raises a ReferError that names all problems, or the first ``MAX_SHOWN`` of them, if there are any."""
        if self._lines:
            shown = '\n'.join(self._lines[:MAX_SHOWN])
            rest = f'\n... and {len(self._lines) - MAX_SHOWN} more' if len(self._lines) > MAX_SHOWN else ''
            raise ReferError(
                f'{len(self._lines)} problem{"s" * (len(self._lines) > 1)} in {self._path}; nothing was '
                f'written\n{shown}{rest}'
            )
