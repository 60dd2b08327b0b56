"""The runs of an experiment: a config file for each arm under each condition, and a work dir for each seed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from tables.runs import Run, write

from .reading import Experiment, Settings


def plan(
    experiment: Experiment, arms: Sequence[str], conditions: Sequence[str], seeds: Sequence[int], folder: Path
) -> list[Run]:
    """The runs, seed by seed, so that a first number of everything is there early.

    Args:
        experiment: of which these are runs.
        arms: names.
        conditions: names.
        seeds: one run of every arm for each.
        folder: work dir of all.

    Returns:
        Their rows are ``condition/arm``.
    """
    runs = []
    for seed in seeds:
        for condition in conditions:
            for arm in (arm for arm in experiment.arms_under(condition) if arm in arms):
                settings = settings_of(experiment, condition, arm)
                own = folder / slug(condition) / slug(arm)
                file = write_config(experiment.base, settings, own / f'{slug(arm)}.py')
                told = dict(experiment=experiment.title, condition=condition, arm=arm, seed=seed, settings=settings)
                runs.append(Run(f'{condition}/{arm}', seed, file, own / f'seed_{seed}', 'last', told))
    return runs


def settings_of(experiment: Experiment, condition: str, arm: str) -> dict[str, Any]:
    """All overrides of an arm under a condition; the arm's win."""
    merged = Config({})
    for settings in (experiment.common, experiment.conditions[condition], experiment.arms[arm]):
        merged.merge_from_dict(dict(settings))
    return merged.to_dict()


def write_config(base: str, settings: Settings, file: Path) -> Path:
    """A config that inherits another, as a file."""
    lines = [f'_base_ = {base!r}']
    lines += [f'{name} = {value!r}' for name, value in settings.items()]
    text = '\n'.join(lines) + '\n'
    if not file.exists() or file.read_text() != text:
        file.parent.mkdir(parents=True, exist_ok=True)
        write(file, text)
    return file


def slug(name: str) -> str:
    """A name as part of a path: ``5 % of the data`` -> ``5_of_the_data``."""
    return re.sub(r'\W+', '_', name).strip('_').lower()
