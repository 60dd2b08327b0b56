"""How long iterations took."""

from __future__ import annotations

from collections import defaultdict
from statistics import mean

from .reading import Log


def describe_time(name: str, log: Log) -> str:
    """A few lines: the mean time of an iteration as logged (itself a mean over the log's window), the data's share, and
    the slowest and the fastest epoch where there are epochs.

    Raises:
        LogError: no time of iterations was logged.
    """
    log.curve('time')  # refuses what has none
    times, data = ([value for _, value in _of_training(log, key)] for key in ('time', 'data_time'))
    lines = [f'{name}: {len(times)} records of training', f'  an iteration: {mean(times):.4f} s']
    lines.append(f'  of which waiting for data: {mean(data) / mean(times):.1%}')
    by_epoch: dict[int, list[float]] = defaultdict(list)
    for record, value in _of_training(log, 'time'):
        if 'epoch' in record:
            by_epoch[record['epoch']].append(value)
    means = {epoch: mean(values) for epoch, values in by_epoch.items()}
    for what, choose in (('slowest', max), ('fastest', min)) if len(means) > 1 else ():
        epoch = choose(means, key=means.__getitem__)
        lines.append(f'  {what} epoch: {epoch}, {means[epoch]:.4f} s an iteration')
    return '\n'.join(lines)


def _of_training(log: Log, key: str) -> list[tuple[dict, float]]:
    """Records of a training step with that key, as they count: a step that was trained twice once."""
    found: dict[int, tuple[dict, float]] = {}
    for part in log.parts:
        own = {record['iter']: (record, record[key]) for record in part if 'iter' in record and record.get(key)}
        if own:
            found = {place: each for place, each in found.items() if place < min(own)} | own
    return list(found.values())
