"""Which model the page serves when none is named."""

from __future__ import annotations

from pathlib import Path

WORK_DIRS = Path('work_dirs')
BEST = 'best_*.pth'


def find_newest() -> str:
    """The newest best checkpoint of the runs in ``work_dirs``, which the quick start trains into too.

    Raises:
        FileNotFoundError: nothing was trained here.
    """
    found = list(WORK_DIRS.glob(f'*/{BEST}'))
    if not found:
        raise FileNotFoundError(
            f'There is no model yet: {WORK_DIRS.absolute()} holds no {BEST}. Train a small one by `bash '
            'tools/quickstart.sh` (some ten minutes on two CPU cores), run this where it did, or give --weights.'
        )
    return str(max(found, key=lambda path: path.stat().st_mtime))
