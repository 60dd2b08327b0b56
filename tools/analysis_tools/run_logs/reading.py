"""The scalars that mmengine's visualizer writes beside a run's log, of all parts of a run."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path('vis_data/scalars.json')  # in the folder of each part, which is named by the time of its start

Record = Mapping[str, Any]


class LogError(ValueError):
    """A log that is not there or cannot be read, or lacks what is asked for."""


@dataclass(frozen=True)
class Log:
    """What a run logged.

    Attributes:
        path: the work dir or file that was asked for, for messages.
        parts: the records of each part of the run, in the order in which they were started.
    """

    path: Path
    parts: Sequence[Sequence[Record]]

    @property
    def counts_epochs(self) -> bool:
        """Whether the step of a validation is the number of its epoch."""
        return any('epoch' in record for part in self.parts for record in part)

    def curve(self, key: str) -> tuple[list[int], list[float]]:
        """The values of a key against iterations; where a resumed part begins, what was logged beyond is left out.

        Values that are not finite, which are null in the file, are NaN.

        Raises:
            LogError: nothing of that name was logged; names what is like it.
        """
        points: dict[int, float] = {}
        ends = self._ends_of_epochs()
        for part in self.parts:
            own: dict[int, float] = {}
            for record in part:
                if key in record:
                    value = record[key]
                    own[_place(record, ends)] = float('nan') if value is None else float(value)
            if own:
                points = {place: value for place, value in points.items() if place < min(own)} | own
        if not points:
            raise LogError(self._without(key))
        places = sorted(points)
        return places, [points[place] for place in places]

    def _ends_of_epochs(self) -> dict[int, int]:
        """The last iteration logged in each epoch; the later part's where it was trained twice."""
        ends: dict[int, int] = {}
        for part in self.parts:
            ends |= {record['epoch']: record['iter'] for record in part if {'epoch', 'iter'} <= record.keys()}
        return ends

    def _without(self, key: str) -> str:
        known = sorted({name for part in self.parts for record in part for name in record})
        lower = {name.lower(): name for name in known}
        near = difflib.get_close_matches(key.lower(), lower, n=1)
        meant = f'do you mean {lower[near[0]]}? ' if near else ''
        return f"{self.path} has no '{key}': {meant}It has {', '.join(known) or 'nothing'}."


def _place(record: Record, ends: Mapping[int, int]) -> int:
    """A record's iteration: a validation of an epoch is placed at its end."""
    return record['iter'] if 'iter' in record else ends.get(record['step'], record['step'])


def read_log(path: Path) -> Log:
    """Reads a work dir, the folder of a run in it, or a file of scalars.

    Raises:
        LogError: none of these, or a line that is no JSON.
    """
    if path.is_file():
        files = [path]
    elif (path / FILE).is_file():
        files = [path / FILE]
    else:
        files = sorted(path.glob(f'*/{FILE}'))
    if not files:
        what = f'{path} has no run in it: no */{FILE} lies there' if path.is_dir() else f'{path} is not there'
        raise LogError(f'{what}. Give a work dir of tools/train.py, or a scalars.json.')
    return Log(path, [_read(file) for file in files])


def _read(file: Path) -> list[Record]:
    """The records of one file; a last line that a killed run did not finish is left out, and that is said."""
    try:
        lines = file.read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LogError(f'{file} cannot be read ({error}): give a scalars.json, or the work dir it lies in.') from error
    records: list[Record] = []
    for number, line in enumerate(lines, start=1):
        record = _parse(line)
        if record is not None:
            records.append(record)
        elif number == len(lines) and records:
            print(f'{file}: the last line is not whole and left out.', file=sys.stderr)
        else:
            raise LogError(f'{file}, line {number}: no JSON with a step: give a scalars.json (in vis_data of a run).')
    return records


def _parse(line: str) -> Record | None:
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        return None
    return record if isinstance(record, dict) and ('step' in record or 'iter' in record) else None
