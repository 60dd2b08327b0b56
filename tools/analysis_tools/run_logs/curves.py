"""Curves of what runs logged, a panel for each key."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from drawing import load_pyplot

from .reading import Log, LogError


def plot_curves(
    logs: Mapping[str, Log], keys: Sequence[str], out: Path | None, title: str, smooth: float, style: str
) -> None:
    """Draws every key of every log against iterations.

    Args:
        logs: by the name in the legend.
        keys: names in the logs.
        out: picture to write; None: a window.
        title: above the panels.
        smooth: weight of the curve so far, see :func:`running_mean`.
        style: of matplotlib.

    Raises:
        LogError: a key that a log lacks, or an unknown style or ending.
        ModuleNotFoundError: matplotlib is not installed.
        RuntimeError: no window can be opened.
    """
    curves = {key: {name: log.curve(key) for name, log in logs.items()} for key in keys}
    pyplot = load_pyplot(window=out is None)
    if style not in ('default', *pyplot.style.available):
        raise LogError(f"matplotlib has no style '{style}': choose one of {', '.join(pyplot.style.available)}.")
    with pyplot.style.context(style):
        figure, axes = pyplot.subplots(
            1, len(keys), figsize=(5.5 * len(keys), 4), constrained_layout=True, squeeze=False
        )
        for key, panel in zip(keys, axes[0]):
            for name, (places, values) in curves[key].items():
                marker = 'o' if len(places) < 40 else ''
                (line,) = panel.plot(places, running_mean(values, smooth), marker=marker, markersize=3, label=name)
                if smooth:
                    panel.plot(places, values, color=line.get_color(), alpha=0.25)
            panel.set(xlabel='iteration', ylabel=key)
            panel.legend()
        figure.suptitle(title)
        if out is None:
            pyplot.show()
        else:
            _write(figure, out)
        pyplot.close(figure)


def running_mean(values: Sequence[float], weight: float) -> list[float]:
    """Exponentially smoothed values, not drawn to the first one; NaN stays where it is and moves nothing."""
    means, total, weights = [], 0.0, 0.0
    for value in values:
        if math.isfinite(value):
            total, weights = weight * total + (1 - weight) * value, weight * weights + (1 - weight)
        means.append(total / weights if math.isfinite(value) else value)
    return means


def _write(figure: object, out: Path) -> None:
    known = figure.canvas.get_supported_filetypes()  # type: ignore[attr-defined]
    if out.suffix[1:].lower() not in known:
        raise LogError(f'{out} has an ending that matplotlib does not write: choose one of {", ".join(sorted(known))}.')
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, dpi=120)  # type: ignore[attr-defined]
    except OSError as error:
        raise LogError(f'{out} cannot be written ({error.strerror}): give another --out.') from error
