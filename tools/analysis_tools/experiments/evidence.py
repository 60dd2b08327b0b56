"""Finished runs as the small JSON files that are kept beside the experiment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tables.runs import Run, write

from cmmasksd.strict_json import to_json

from .planning import slug

Evidence = dict[str, Any]


def collect(runs: Sequence[Run], folder: Path) -> None:
    """Writes a JSON file for each finished run: its settings, metrics, steps, and seconds of training.

    Args:
        runs: finished or not.
        folder: of the experiment; gets ``runs/CONDITION_ARM_seed-N.json``.
    """
    for run in runs:
        if not run.metrics_file.exists():
            continue
        told = dict(run.settings)
        metrics = json.loads(run.metrics_file.read_text())
        evidence = {**told, **training_of(run), 'metrics': metrics}
        name = f'{slug(told["condition"])}_{slug(told["arm"])}_seed-{run.seed}.json'
        (folder / 'runs').mkdir(exist_ok=True)
        write(folder / 'runs' / name, to_json(evidence, indent=1) + '\n')


def training_of(run: Run) -> Evidence:
    """Steps of a training, and its seconds: the sum of its steps' times, waiting for data included, as logged."""
    logs = sorted(run.folder.glob('*/vis_data/scalars.json'), key=lambda path: path.stat().st_mtime)
    lines = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
    steps = {line['step']: line for line in lines if 'loss' in line}
    seconds, last = 0.0, 0
    for step in sorted(steps):
        seconds += (step - last) * steps[step]['time']
        last = step
    started = datetime.strptime(logs[0].parents[1].name, '%Y%m%d_%H%M%S').date() if logs else None
    return dict(steps=last, seconds=round(seconds, 1), date=str(started) if started else None)


def load(folder: Path) -> list[Evidence]:
    """All runs that are kept beside an experiment.

    Raises:
        ValueError: there is none.
    """
    runs = [json.loads(file.read_text()) for file in sorted((folder / 'runs').glob('*.json'))]
    if not runs:
        raise ValueError(f'{folder}/runs holds no finished run')
    return runs
