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


def find_run_config(checkpoint: str | Path) -> Path:
    """The config that a run has left in its work dir, beside its checkpoints.

    Args:
        checkpoint: a file in the work dir.

    Raises:
        FileNotFoundError: there is no such file, or no config beside it.
        ValueError: there are several configs.
    """
    path = Path(checkpoint).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file; give the checkpoint of a training, such as best_mIoU_*.pth')
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
