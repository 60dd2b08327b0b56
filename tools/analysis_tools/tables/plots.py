"""Ours and the paper's, row by row."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from .report import Result


def plot(pyplot: ModuleType, parts: list[Result], metric: str, file: Path) -> None:
    """Draws a metric: a column a part, ours above (each run, mean and standard deviation), the paper's below.

    Args:
        pyplot: matplotlib's.
        parts: of ``report.summarise``.
        metric: ``split/metric``.
        file: the picture to write.
    """
    figure, axes = pyplot.subplots(2, len(parts), figsize=(1.5 + 3.2 * len(parts), 6), sharex='col', squeeze=False)
    for (ours, papers), part in zip(axes.T, parts, strict=True):
        places = range(len(part['rows']))
        for place, row in enumerate(part['rows']):
            values = [run['metrics'].get(metric) for run in row['runs']]
            ours.plot([place] * len(values), values, '.', color='tab:grey')
            if metric in row['mean']:
                ours.errorbar(place, row['mean'][metric], row['std'][metric], fmt='_', color='tab:blue', capsize=4)
        papers.plot(places, [row['paper'].get(metric) for row in part['rows']], 's', color='tab:orange')
        papers.set_xticks(places, [row['config'] for row in part['rows']], rotation=40, ha='right')
        ours.set_title(f'Table {part["name"]}: {part["title"]}', fontsize=9)
        ours.margins(x=0.2)
    axes[0, 0].set_ylabel(f'ours: {metric}')
    axes[1, 0].set_ylabel(f'paper: {metric}')
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    pyplot.close(figure)
