"""matplotlib, where it is installed."""

from __future__ import annotations

from types import ModuleType


def load_pyplot(window: bool = False) -> ModuleType:
    """matplotlib's pyplot, drawing to files, or in windows.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        RuntimeError: it can open no window here.
    """
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Plots need matplotlib, which is optional: pip install 'cmmasksd[matplotlib]'."
        ) from error
    if not window:
        matplotlib.use('Agg')
    from matplotlib import pyplot

    if window and pyplot.get_backend().lower() == 'agg':
        raise RuntimeError('matplotlib can open no window here: give --out, the picture to write.')
    return pyplot
