"""Numbers that were measured of a checkpoint, out of what its run left; none is made up."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from cmmasksd.engine.leaves import leaf_configs
from cmmasksd.published.errors import PublishedError
from cmmasksd.work_dirs import run_of

METRICS = ('mIoU', 'oIoU', *(f'Pr@0.{tenths}' for tenths in range(5, 10)))
COUNT = 'num_expressions'
Results = dict[str, dict[str, float]]  # metrics in percent, and the number of expressions, by split


def find_results(checkpoint: Mapping[str, Any], path: Path, cfg: Config, tested: str | Path | None) -> Results:
    """Metrics of a checkpoint by split: of its own epoch's validation, and of a test.

    Args:
        checkpoint: whose ``meta`` says its run, epoch and iteration.
        path: of the checkpoint; the validation is looked for in the logs beside it.
        cfg: of the run, which names the split of validation.
        tested: what ``tools/test.py --out`` wrote of this checkpoint; None: no test.

    Raises:
        PublishedError: ``tested`` cannot be read or holds no metrics.
    """
    validated = _find_validation(checkpoint.get('meta') or {}, path.parent)
    splits = {str(dataset.get('split')) for dataset in _datasets(cfg, 'val_dataloader')}
    found: Results = {splits.pop(): validated} if validated and len(splits) == 1 else {}
    return {**found, **(read_tested(Path(tested)) if tested is not None else {})}


def read_tested(path: Path) -> Results:
    """Metrics that ``tools/test.py`` wrote, by split; those that are no number (null) are left out.

    Raises:
        PublishedError: it cannot be read, or holds no metrics of splits.
    """
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        named = [(*name.split('/', 1), value) for name, value in content.items() if '/' in name]
        by_split: dict[str, dict[str, Any]] = {split: {} for split, _, _ in named}
        for split, name, value in named:
            by_split[split][name] = value
    except (OSError, ValueError, AttributeError) as error:
        raise PublishedError(f'{path} holds no results ({error}): give what tools/test.py --out wrote') from error
    found = {split: _measured(values) for split, values in by_split.items()}
    if not any(found.values()):
        raise PublishedError(
            f'{path} holds no metrics of splits, such as val/mIoU: give what tools/test.py --out wrote'
        )
    return {split: metrics for split, metrics in found.items() if metrics}


def describe_data(cfg: Config, loader: str) -> list[str]:
    """Names of the data sets of a loader, such as ``refcoco (unc)``; without paths, which are of a machine."""
    listed = [f'{each.get("dataset")} ({each.get("split_by")})' if each.get('split_by') else f'{each.get("dataset")}'
              for each in _datasets(cfg, loader) if each.get('dataset')]  # fmt: skip
    return list(dict.fromkeys(listed))


def _datasets(cfg: Config, loader: str) -> list[Mapping[str, Any]]:
    settings = cfg.get(loader)
    return list(leaf_configs(settings['dataset'])) if settings and 'dataset' in settings else []


def _find_validation(meta: Mapping[str, Any], work_dir: Path) -> dict[str, float]:
    """The validation after the checkpoint's epoch or, in a run by iterations, its iteration: by the run that wrote it
    or, where that was killed before, the first that went on.
    """
    step = meta.get('epoch' if meta.get('train_loop') == 'EpochBasedTrainLoop' else 'iter')
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        if step is None or path.parts[-3] < run_of(meta):
            continue
        for line in path.read_text(encoding='utf-8').splitlines():
            values = _parse(line)
            if values.get('step') == step and 'mIoU' in values:
                return _measured(values)
    return {}


def _parse(line: str) -> dict[str, Any]:
    """A line of mmengine's scalars; that of a killed run may be cut off, and then says nothing."""
    try:
        values = json.loads(line)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _measured(values: Mapping[str, Any]) -> dict[str, float]:
    kept = {name: values[name] for name in (*METRICS, COUNT) if name in values}
    numbers = {name: value for name, value in kept.items() if type(value) in (int, float) and math.isfinite(value)}
    return numbers if numbers.keys() - {COUNT} else {}
