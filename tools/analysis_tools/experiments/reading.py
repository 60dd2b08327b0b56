"""What an experiment consists of, read from its ``experiment.yml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FILE = 'experiment.yml'
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Experiment:
    """An experiment.

    Attributes:
        title: a line.
        base: the config that all runs share, as ``_base_`` of another names it.
        common: overrides of it for all runs.
        conditions: overrides by name, such as shares of the data; every arm is run under each.
        arms: overrides by name.
        baseline: the arm that others are compared with.
        metrics: those that are printed and drawn, as ``split/metric``, or ``split+split/metric`` for the mean of
            several splits; the first leads.
        only: names of the conditions of an arm that is not run under all.
    """

    title: str
    base: str
    common: Settings
    conditions: Mapping[str, Settings]
    arms: Mapping[str, Settings]
    baseline: str
    metrics: tuple[str, ...]
    only: Mapping[str, tuple[str, ...]]

    def arms_under(self, condition: str) -> list[str]:
        """The arms that are run under a condition."""
        return [arm for arm in self.arms if condition in self.only.get(arm, self.conditions)]


def read_experiment(folder: Path) -> Experiment:
    """Reads the ``experiment.yml`` of a folder; its ``config`` is a shipped config's name, or a file beside it
    (``model.py``).

    Raises:
        FileNotFoundError: there is none.
        ValueError: a key that is missing or unknown, a baseline that is no arm, or an arm under unknown conditions.
    """
    file = folder / FILE
    content = yaml.safe_load(file.read_text(encoding='utf-8'))
    known = set(Experiment.__annotations__) - {'base'} | {'config'}
    if wrong := sorted(known ^ (set(content) | {'common', 'only'})):
        raise ValueError(f'{file}: {", ".join(wrong)} missing or unknown; an experiment has {", ".join(sorted(known))}')
    if content['baseline'] not in content['arms']:
        raise ValueError(f"{file}: the baseline '{content['baseline']}' is none of the arms")
    only = {arm: tuple(conditions) for arm, conditions in content.get('only', {}).items()}
    for arm, conditions in only.items():
        if arm not in content['arms'] or not set(conditions) <= set(content['conditions']):
            raise ValueError(f'{file}: only.{arm} names an arm or a condition that is not there')
    config = content['config']
    return Experiment(
        title=content['title'],
        base=str((folder / config).resolve()) if config.endswith('.py') else f'cmmasksd::cm_masksd/{config}.py',
        common=content.get('common', {}),
        conditions={name: settings or {} for name, settings in content['conditions'].items()},
        arms={name: settings or {} for name, settings in content['arms'].items()},
        baseline=content['baseline'],
        metrics=tuple(content['metrics']),
        only=only,
    )
