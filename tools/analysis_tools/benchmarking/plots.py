"""Cost against expressions per image, and against the number of visual tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from drawing import load_pyplot

from .comparing import Comparison
from .timing import Spread


def plot_costs(file: Path, label: str, points: Sequence[tuple[int, Comparison]], paired: bool) -> None:
    """Two panels over ``points`` (x, comparison at it): GFLOP a unit, and relative time a unit.

    Args:
        file: the picture to write.
        label: of the horizontal axis.
        points: at least one.
        paired: times are relative to the first variant at the same x, round by round, for work in which that one costs
            the same everywhere; False: to its median at the smallest x.
    """
    pyplot = load_pyplot()
    points = sorted(points, key=lambda point: point[0])
    first = points[0][1]
    figure, panels = pyplot.subplots(1, 2, figsize=(11, 4), constrained_layout=True)
    for name in first.measurements:
        xs = [x for x, comparison in points if name in comparison.measurements]
        present = [comparison for _, comparison in points if name in comparison.measurements]
        times = [
            comparison.time_ratio(name) if paired else _relative(comparison, name, first) for comparison in present
        ]
        panels[0].plot(
            xs,
            [one.flops / one.units / 1e9 for one in (each.measurements[name] for each in present)],
            marker='o',
            label=name,
        )
        panels[1].plot(xs, [time.median for time in times], marker='o', label=name)
        panels[1].fill_between(xs, [time.low for time in times], [time.high for time in times], alpha=0.2)
    panels[0].set(xlabel=label, ylabel=f'GFLOP per {first.unit}', ylim=(0, None))
    place = '' if paired else f' at {points[0][0]}'
    panels[1].set(xlabel=label, ylabel=f'time per {first.unit}, relative to {first.first}{place}', ylim=(0, None))
    panels[0].legend()
    figure.savefig(file, dpi=120)
    pyplot.close(figure)


def _relative(comparison: Comparison, name: str, base: Comparison) -> Spread:
    one, unit = comparison.measurements[name].per_unit, base.measurements[base.first].per_unit.median
    return Spread(one.median / unit, one.low / unit, one.high / unit)
