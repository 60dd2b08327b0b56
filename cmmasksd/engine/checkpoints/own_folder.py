"""A run's own checkpoints: named, and found again wherever its folder was copied or moved to."""

from __future__ import annotations

from pathlib import Path

from cmmasksd.checkpoints import CheckpointError
from cmmasksd.work_dirs import LAST


def checkpoint_folder(work_dir: str | Path, out_dir: str | Path | None) -> Path:
    """Where mmengine's ``CheckpointHook`` writes: the work dir, or a folder of its name in ``out_dir``."""
    return Path(work_dir) if out_dir is None or str(out_dir) == str(work_dir) else Path(out_dir, Path(work_dir).name)


def find_last(work_dir: str | Path, folder: str | Path) -> Path | None:
    """The checkpoint that a run goes on from; None where it has not written any.

    Of what ``last_checkpoint`` says only the file's name counts: mmengine writes absolute paths, which lead from a
    copied folder into the other one.

    Args:
        work_dir: holds ``last_checkpoint``.
        folder: holds the checkpoints.

    Raises:
        CheckpointError: no file of that name lies in the folder.
    """
    pointer = Path(work_dir, LAST)
    if not pointer.is_file():
        return None
    name = file_name(pointer.read_text().strip())
    if not name or not Path(folder, name).is_file():
        raise CheckpointError(
            f'{pointer} names {name or "no file"}, which does not lie in {folder}: copy it there, name another '
            f'checkpoint (--resume PATH), or delete {LAST} to begin anew'
        )
    return Path(folder, name)


def file_name(path: str) -> str:
    """The last part of a path, whichever system wrote it."""
    return Path(path.replace('\\', '/')).name
