"""Comparisons as Markdown tables, and as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from types import ModuleType

from .comparing import Comparison
from .reading import Experiment


def format_tables(experiment: Experiment, by_metric: dict[str, list[Comparison]]) -> str:
    """A Markdown table a condition: a row an arm, mean ± standard deviation of each metric, and the first metric's
    effect.
    """
    lead = experiment.metrics[0]
    tables = []
    for condition in experiment.conditions:
        rows = [each for each in by_metric[lead] if each.condition == condition]
        if rows:
            head = ['arm', 'runs', *experiment.metrics, f'{lead} against {experiment.baseline} (95 %)', 'p']
            lines = [f'**{condition}**', '', _row(head), _row(['---'] * len(head))]
            lines += [_row(_cells(experiment, by_metric, each)) for each in rows]
            tables.append('\n'.join(lines))
    return '\n\n'.join(tables)


def _cells(experiment: Experiment, by_metric: dict[str, list[Comparison]], lead: Comparison) -> list[str]:
    place = (lead.condition, lead.arm)
    of_arm = {each.metric: each for rows in by_metric.values() for each in rows if (each.condition, each.arm) == place}
    values = [_spread(of_arm[metric]) if metric in of_arm else '-' for metric in experiment.metrics]
    if lead.effect is None:
        return [lead.arm, str(len(lead.values)), *values, '', '']
    effect = f'{lead.effect:+.2f}'
    if lead.interval is None or lead.p_value is None:
        return [lead.arm, str(len(lead.values)), *values, effect, '']
    low, high = lead.interval
    return [lead.arm, str(len(lead.values)), *values, f'{effect} ({low:+.2f} to {high:+.2f})', f'{lead.p_value:.3f}']


def _spread(each: Comparison) -> str:
    return f'{each.mean:.2f}' if each.spread is None else f'{each.mean:.2f} ± {each.spread:.2f}'


def _row(cells: Sequence[str]) -> str:
    return f'| {" | ".join(cells)} |'


def plot(pyplot: ModuleType, experiment: Experiment, comparisons: list[Comparison], file: Path) -> None:
    """Draws effects with their intervals, a panel a condition; dots are the seeds' differences.

    Args:
        pyplot: matplotlib's.
        experiment: whose conditions are the panels.
        comparisons: in one metric.
        file: the picture to write.
    """
    conditions = [each for each in experiment.conditions if any(one.condition == each for one in comparisons)]
    width, height = 2 + 3.4 * len(conditions), 1.6 + 0.35 * len(experiment.arms)
    figure, axes = pyplot.subplots(1, len(conditions), figsize=(width, height), squeeze=False)
    for axis, condition in zip(axes[0], conditions, strict=True):
        rows = [each for each in comparisons if each.condition == condition]
        baseline = next((each.values for each in rows if each.arm == experiment.baseline), {})
        arms = [each for each in rows if each.effect is not None]
        for place, each in enumerate(arms):
            differences = [each.values[seed] - baseline[seed] for seed in each.values.keys() & baseline.keys()]
            axis.plot(differences, [place] * len(differences), '.', color='tab:grey', zorder=1)
            axis.plot(each.effect, place, 's', color='tab:blue', zorder=2)
            if each.interval:
                axis.plot(each.interval, [place] * 2, '-', color='tab:blue', zorder=2)
        axis.axvline(0, color='black', linewidth=0.8)
        axis.set_yticks(range(len(arms)), [each.arm for each in arms])
        axis.set_ylim(len(arms) - 0.4, -0.6)
        axis.set_title(condition, fontsize=10)
        axis.set_xlabel(f'{comparisons[0].metric} against {experiment.baseline}')
    figure.suptitle(fill(experiment.title, int(12 * width)), fontsize=10)
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    pyplot.close(figure)
