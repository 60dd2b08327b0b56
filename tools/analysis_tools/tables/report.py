"""Ours beside the paper's: means and spreads over seeds, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any

from prettytable import PrettyTable

from .paper import Part, Row
from .runs import Run

Result = dict[str, Any]


def summarise(parts: Sequence[Part], runs: Sequence[Run]) -> list[Result]:
    """The parts of a table with what is finished of them.

    Returns:
        A dict a part: ``name``, ``title``, ``rows``; a row has ``config``, ``paper``, ``runs`` (seed, work dir,
        metrics), ``mean`` and ``std`` (of a sample; None where there is one run) by ``split/metric``.
    """
    finished: dict[str, list[Result]] = {}
    for run in runs:
        if run.metrics_file.exists():
            metrics = json.loads(run.metrics_file.read_text())
            own = dict(seed=run.seed, work_dir=f'{run.row}/{run.folder.name}', metrics=metrics)
            finished.setdefault(run.row, []).append(own)
    return [
        dict(name=part.name, title=part.title, rows=[_row(row, finished.get(row.config, [])) for row in part.rows])
        for part in parts
    ]


def _row(row: Row, runs: list[Result]) -> Result:
    values: dict[str, list[float]] = {}
    for run in runs:
        for name, value in run['metrics'].items():
            if value is not None:
                values.setdefault(name, []).append(value)
    return dict(
        config=row.config,
        paper=row.paper,
        runs=runs,
        mean={name: mean(each) for name, each in values.items()},
        std={name: stdev(each) if len(each) > 1 else None for name, each in values.items()},
    )


def format_part(part: Result, data: str) -> str:
    """A part as a text table: percentages, their standard deviations over seeds, and the paper's in brackets."""
    compared = list(dict.fromkeys(name for row in part['rows'] for name in row['paper']))
    ours = {name for row in part['rows'] for name in row['mean'] if name.endswith('/mIoU')}
    of_val = all(name.startswith('val/') for name in compared)
    table = PrettyTable(align='l')
    table.add_column('config', [row['config'] for row in part['rows']])
    table.add_column('seeds', [len(row['runs']) for row in part['rows']])
    for name in [*compared, *sorted(ours - set(compared))]:
        head = name.removeprefix('val/') if of_val else name
        table.add_column(head, [_cell(row, name) for row in part['rows']])
    lines = [
        f'Table {part["name"]}: {part["title"]}. Ours, ± standard deviation over seeds (paper)',
        table.get_string(),
    ]
    if data == 'refshapes':
        lines.append("Ours: RefShapes, the quick start's model; paper: RefCOCO, CLIP ViT-B/16 at 480x480.")
    return '\n'.join(lines)


def _cell(row: Result, name: str) -> str:
    value, spread, paper = row['mean'].get(name), row['std'].get(name), row['paper'].get(name)
    ours = '-' if value is None else f'{value:.2f}' if spread is None else f'{value:.2f} ± {spread:.2f}'
    return ours if paper is None else f'{ours} ({paper:.2f})'
