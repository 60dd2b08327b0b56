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
