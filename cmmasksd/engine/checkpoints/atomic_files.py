"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

BACKEND = 'cmmasksd.atomic'
PART = '.part'


class FileWriteError(OSError):
    """A file that could not be written; what had its name before is untouched."""


class AtomicLocalBackend(LocalBackend):
    """mmengine's backend of local files, but a file is written under another name, flushed to the disk, and then
    renamed.

    Killed at any moment, or with a full disk, it leaves the file of before; registered with mmengine's file I/O as
    ``cmmasksd.atomic``.
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Writes bytes.

        Raises:
            FileWriteError: a full disk, a quota, a folder that is read-only by now.
        """
        path, part = Path(filepath), Path(f'{filepath}{PART}')
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(part, 'wb') as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError as error:
            raise FileWriteError(error.errno, _explain(path, part, len(obj), error)) from error

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Writes text; raises as ``put`` does."""
        self.put(obj.encode(encoding), filepath)


def _explain(path: Path, part: Path, size: int, error: OSError) -> str:
    """What went wrong; the half-written part is deleted after the free space was read."""
    free = shutil.disk_usage(path.parent).free if path.parent.is_dir() else 0
    if part.is_file():
        part.unlink()
    return (
        f'{path} could not be written: {error.strerror or error} ({size:,} bytes to write, {free:,} free in its '
        'folder). '
        'What was saved before is intact: make room and go on with --resume'
    )


register_backend(BACKEND, AtomicLocalBackend, force=True)
