"""The hidden folder in which a set is drawn before it is published, and the removal of those that killed processes
left.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no such locks: drafts of killed processes stay there
    fcntl = None  # type: ignore[assignment]

PREFIX = '.refshapes-'


@contextmanager
def draft_folder(root: Path) -> Iterator[Path]:
    """A folder in ``root`` that is gone afterwards; drafts in which no living process draws are removed first."""
    with _in_use(root), tempfile.TemporaryDirectory(prefix=PREFIX, dir=root) as name:
        yield Path(name)


@contextmanager
def _in_use(root: Path) -> Iterator[None]:
    """Every process that draws shares a lock on ``root``, which ends with it; who gets it alone knows that all drafts
    there are left over.
    """
    folder = os.open(root, os.O_RDONLY)
    try:
        if fcntl and _lock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
            for draft in root.glob(f'{PREFIX}*'):
                shutil.rmtree(draft)
        if fcntl:
            _lock(folder, fcntl.LOCK_SH)
        yield
    finally:
        os.close(folder)


def _lock(folder: int, kind: int) -> bool:
    """Whether the lock was got: another process may hold it, and some network file systems lock no folders."""
    try:
        fcntl.flock(folder, kind)
    except OSError:
        return False
    return True
