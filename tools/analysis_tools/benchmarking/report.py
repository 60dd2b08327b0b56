"""What was measured, as tables to read and as JSON to keep."""

from __future__ import annotations

import dataclasses
import platform
import re
import shlex
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from prettytable import PrettyTable

from cmmasksd.strict_json import to_json

from .comparing import Comparison
from .counting import NOT_COUNTED
from .data import DataMeasurement
from .loading import LoadingMeasurement
from .timing import Spread

PACKAGES = (
    'torch',
    'open_clip_torch',
    'onedl-mmengine',
    'mmengine',
    'onedl-mmsegmentation',
    'mmsegmentation',
    'opencv-python',
    'numpy',
    'cmmasksd',
)


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Device, versions and the command."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return dict(
        device=_gpu(device) if device.type == 'cuda' else _processor(),
        threads=torch.get_num_threads(),
        python=platform.python_version(),
        versions=versions,
        command=shlex.join(['python', *sys.argv]),
    )


def _gpu(device: torch.device) -> str:
    """Its name and memory, and the versions that decide its speed."""
    properties = torch.cuda.get_device_properties(device)
    path = Path('/proc/driver/nvidia/version')  # of Linux
    found = re.search(r'\d+\.\d+(\.\d+)?', path.read_text()) if path.exists() else None
    driver = found.group() if found else 'unknown'
    return (
        f'{properties.name}, {properties.total_memory / 1e9:.0f} GB, driver {driver}, CUDA {torch.version.cuda}, cuDNN '
        f'{torch.backends.cudnn.version()}'
    )


def _processor() -> str:
    lines = Path('/proc/cpuinfo').read_text().splitlines() if Path('/proc/cpuinfo').exists() else []
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return f'CPU: {names[0]}' if names else f'CPU: {platform.processor() or platform.machine()}'


def format_comparison(comparison: Comparison) -> str:
    """A row a variant: milliseconds a unit, memory, FLOPs, share of the floor, and both ratios to the first variant."""
    unit = comparison.unit
    columns = ['', f'ms/{unit}', f'{unit}s/s', 'MB', f'GFLOP/{unit}', 'of floor', f'time / {comparison.first}', 'FLOPs']
    table = PrettyTable(columns, align='r', title=comparison.title)
    table.align[''] = 'l'
    for name, one in comparison.measurements.items():
        per_unit = one.per_unit
        counts = f'{one.memory:.0f}', f'{one.flops / one.units / 1e9:.2f}', f'{one.share_of_floor:.2f}'
        ratios = format_spread(comparison.time_ratio(name)), f'{comparison.flop_ratio(name):.3f}'
        table.add_row([name, format_spread(per_unit), _number(1e3 / per_unit.median), *counts, *ratios])
    rates = ', '.join(
        f'{dtype} {Spread.of(samples).median / 1e12:.3g} TFLOP/s' for dtype, samples in comparison.rates.items()
    )
    facts = ''.join(f'\n{name.replace("_", " ")}: {value:.7g}' for name, value in comparison.facts.items())
    return f'{table.get_string()}\nmatrix rate: {rates}; ratios are of samples from the same round{facts}'


def format_baseline(comparison: Comparison) -> list[str]:
    """A line for each variant that was also run the plain way."""
    plain = {name: name.removesuffix(', plain') for name in comparison.measurements if name.endswith(', plain')}
    lines = []
    for slow, ours in plain.items():
        for name in (ours, *(['grouped'] if 'grouped' in comparison.measurements else [])):
            ratio, flops = comparison.time_ratio(slow, name), comparison.flop_ratio(slow, name)
            lines.append(
                f'{comparison.title}: {slow} takes {format_spread(ratio)} times as long as {name}, with {flops:.2f} '
                'times the FLOPs'
            )
    return lines


def format_data(measurements: Mapping[str, DataMeasurement]) -> str:
    """A row a pipeline."""
    table = PrettyTable(
        ['pipeline', 'images/s/core', 'of floor', 'data'], align='r', title='data pipeline, one process'
    )
    for name, one in measurements.items():
        table.add_row([name, f'{one.images_per_second:.0f}', format_spread(one.share_of_floor), one.source])
    return table.get_string()


def format_loading(measurements: Mapping[str, LoadingMeasurement]) -> str:
    """A row a kind of memory."""
    columns = ['', 'loader alone, images/s', 'steps on one batch', 'steps on its batches', 'data']
    workers = ', '.join(sorted({str(one.workers) for one in measurements.values()}))
    table = PrettyTable(columns, align='r', title=f'a loader of {workers} workers, training with both branches')
    for name, one in measurements.items():
        rates = (f'{rate:.1f}' for rate in (one.loader, one.step, one.fed))
        table.add_row([name, *rates, one.source])
    return table.get_string()


def format_spread(spread: Spread) -> str:
    """Median and, in brackets, quartiles."""
    return f'{_number(spread.median)} ({_number(spread.low)} to {_number(spread.high)})'


def _number(value: float) -> str:
    return f'{value:.0f}' if value >= 1000 else f'{value:.3g}'


class Report:
    """Prints every table when it is there and, given a folder, writes all that was measured so far: ``benchmark.json``
    with every sample, ``benchmark.txt`` with the tables. What fails later takes nothing along.

    Args:
        device: what is measured on.
        folder: made if missing; None: tables are only printed.
    """

    def __init__(self, device: torch.device, folder: Path | None) -> None:
        self.folder = folder
        self.tables: list[str] = []
        self.content: dict[str, Any] = dict(machine=describe_machine(device), comparisons=[], data={}, loading={})
        self.add_table('\n'.join(f'{name}: {value}' for name, value in self.content['machine'].items()))
        self.add_table(NOT_COUNTED)

    def add_comparison(self, comparison: Comparison) -> None:
        self.content['comparisons'].append(dataclasses.asdict(comparison))
        for table in (format_comparison(comparison), *format_baseline(comparison)):
            self.add_table(table)

    def add_data(self, measured: Mapping[str, DataMeasurement]) -> None:
        self.content['data'] = {name: dataclasses.asdict(one) for name, one in measured.items()}
        self.add_table(format_data(measured))

    def add_loading(self, measured: Mapping[str, LoadingMeasurement]) -> None:
        self.content['loading'] = {name: dataclasses.asdict(one) for name, one in measured.items()}
        self.add_table(format_loading(measured))

    def add_table(self, table: str) -> None:
        print(f'{table}\n', flush=True)
        self.tables.append(table)
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / 'benchmark.json').write_text(to_json(self.content, indent=1) + '\n')
            (self.folder / 'benchmark.txt').write_text('\n\n'.join(self.tables) + '\n')
