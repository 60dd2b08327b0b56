"""Cost against expressions per image, and against the number of visual tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from .comparing import Comparison


def load_pyplot() -> ModuleType:
    """matplotlib's pyplot, drawing to files.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("The plots need matplotlib, which is optional: pip install 'cmmasksd[matplotlib]', or leave out --plot.") from error
    matplotlib.use('Agg')
    from matplotlib import pyplot

    return pyplot


def plot_costs(file: Path, label: str, points: Sequence[tuple[int, Comparison]]) -> None:
    """Two panels over ``points`` (x, comparison at it): GFLOP a unit, and time a unit relative to the first variant at the smallest x.

    Args:
        file: the picture to write.
        label: of the horizontal axis.
        points: at least one.
    """
    pyplot = load_pyplot()
    points = sorted(points, key=lambda point: point[0])
    first = points[0][1]
    unit_time = first.measurements[first.first].per_unit.median
    figure, panels = pyplot.subplots(1, 2, figsize=(11, 4), constrained_layout=True)
    for name in first.measurements:
        xs = [x for x, comparison in points if name in comparison.measurements]
        measured = [comparison.measurements[name] for _, comparison in points if name in comparison.measurements]
        spreads = [one.per_unit for one in measured]
        panels[0].plot(xs, [one.flops / one.units / 1e9 for one in measured], marker='o', label=name)
        panels[1].plot(xs, [spread.median / unit_time for spread in spreads], marker='o', label=name)
        panels[1].fill_between(xs, [spread.low / unit_time for spread in spreads], [spread.high / unit_time for spread in spreads], alpha=0.2)
    panels[0].set(xlabel=label, ylabel=f'GFLOP per {first.unit}', ylim=(0, None))
    panels[1].set(xlabel=label, ylabel=f'time per {first.unit}, relative to {first.first} at {points[0][0]}', ylim=(0, None))
    panels[0].legend()
    figure.savefig(file, dpi=120)
    pyplot.close(figure)
