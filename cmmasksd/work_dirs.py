"""Which folder a run works in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

LAST = 'last_checkpoint'  # the file in a work dir that names its last checkpoint


def find_work_dir(config: str | Path, settings: Mapping[str, Any]) -> str:
    """The work dir of a config: its ``work_dir``, or ``work_dirs/<its name>``.

    Where a run has left the config in its own folder, it is that folder: the copy that mmengine writes there names the
    folder that the run began in, and a moved or copied run lies elsewhere.

    Args:
        config: path of the config.
        settings: what it holds.
    """
    own = Path(config).parent
    if (own / LAST).is_file():
        return str(own)
    return settings.get('work_dir') or str(Path('work_dirs', Path(config).stem))


def run_of(meta: Mapping[str, Any]) -> str:
    """The name of the folder, a time, in which the run that wrote a checkpoint keeps its logs; '' if it is not said."""
    return '_'.join(str(meta.get('experiment_name', '')).split('_')[-2:])


def find_run_config(checkpoint: str | Path, meta: Mapping[str, Any] | None = None) -> Path:
    """The config that a run has left in its work dir: the one among its logs, or else the copy beside its checkpoints,
    which a later test of other settings replaces.

    Args:
        checkpoint: a file in the work dir.
        meta: of the checkpoint, which names its run; None: the copy is taken.

    Raises:
        FileNotFoundError: there is no such file, or no config beside it.
        ValueError: there are several configs.
    """
    path = Path(checkpoint).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file; give the checkpoint of a training, such as best_mIoU_*.pth')
    logged = path.parent / run_of(meta or {}) / 'vis_data' / 'config.py'
    if meta and logged.is_file():
        return logged
    configs = sorted(path.parent.glob('*.py'))
    if not configs:
        raise FileNotFoundError(
            f'{path.parent} holds no config, which a training leaves beside its checkpoints: give the config as well '
            '(--config; a path, or a name such as vit-b_refcoco)'
        )
    if len(configs) > 1:
        raise ValueError(
            f'{path.parent} holds several configs ({", ".join(each.name for each in configs[:3])}): give the one that '
            f'{path.name} was trained with (--config)'
        )
    return configs[0]
