"""Arms beside the baseline: means, spreads, and the differences of runs of the same seed with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from .evidence import Evidence
from .reading import Experiment

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Comparison:
    """An arm under a condition, in one metric.

    Attributes:
        values: of the runs, by seed.
        mean: of the runs.
        spread: their standard deviation (of a sample); None with one run.
        effect: mean difference to the baseline's runs of the same seeds; None for the baseline itself, or without a
            common seed.
        interval: the effect's 95 % confidence interval by Student's t over the paired differences; None below two
            pairs.
        p_value: of the paired t test, two-sided; None likewise.
        pairs: how many seeds both have.
    """

    condition: str
    arm: str
    metric: str
    values: dict[int, float]
    mean: float
    spread: float | None
    effect: float | None
    interval: tuple[float, float] | None
    p_value: float | None
    pairs: int


def compare(experiment: Experiment, runs: Sequence[Evidence], metric: str) -> list[Comparison]:
    """Every arm under every condition of which there are runs, in the experiment's order."""
    found: list[Comparison] = []
    for condition in experiment.conditions:
        baseline = values_of(runs, condition, experiment.baseline, metric)
        for arm in experiment.arms_under(condition):
            values = values_of(runs, condition, arm, metric)
            if values:
                of_baseline = arm == experiment.baseline
                found.append(comparison(condition, arm, metric, values, {} if of_baseline else baseline))
    return found


def values_of(runs: Sequence[Evidence], condition: str, arm: str, metric: str) -> dict[int, float]:
    """A metric of the runs of an arm under a condition, by seed; where it is of several splits, their mean."""
    splits, _, name = metric.partition('/')
    names = [f'{split}/{name}' for split in splits.split('+')]
    own = [run for run in runs if (run['condition'], run['arm']) == (condition, arm)]
    found = {run['seed']: [run['metrics'].get(each) for each in names] for run in own}
    return {seed: float(np.mean(values)) for seed, values in found.items() if None not in values}


def comparison(
    condition: str, arm: str, metric: str, values: dict[int, float], baseline: dict[int, float]
) -> Comparison:
    """One arm against the baseline's runs of the same seeds."""
    common = sorted(values.keys() & baseline.keys())
    differences = np.array([values[seed] - baseline[seed] for seed in common])
    interval, p_value = None, None
    if len(common) > 1:
        test = stats.ttest_1samp(differences, 0.0)
        interval = tuple(float(end) for end in test.confidence_interval(CONFIDENCE))
        p_value = float(test.pvalue)
    numbers = list(values.values())
    return Comparison(
        condition=condition,
        arm=arm,
        metric=metric,
        values=values,
        mean=float(np.mean(numbers)),
        spread=float(np.std(numbers, ddof=1)) if len(numbers) > 1 else None,
        effect=float(differences.mean()) if len(common) else None,
        interval=interval,
        p_value=p_value,
        pairs=len(common),
    )
