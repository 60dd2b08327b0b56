"""Whether the processes of a run on several machines begin at one place."""

from __future__ import annotations

import platform
from pathlib import Path

from mmengine.dist import all_gather_object, get_world_size
from mmengine.runner import Runner

from cmmasksd.checkpoints import CheckpointError


def check_same_start(runner: Runner) -> None:
    """Makes sure that all processes resume, or load, the same checkpoint, or none.

    Only the first process writes into the work dir. Where machines have a folder of that name each, the others find no
    checkpoint to resume, and would begin anew beside a run that goes on.

    Raises:
        CheckpointError: on every process, with what each machine found.
    """
    if get_world_size() == 1:
        return
    file = runner._load_from
    own = bool(runner._resume), None if file is None else Path(str(file)).name
    found = all_gather_object((platform.node(), runner.rank, own))
    if all(each == found[0][2] for *_, each in found):
        return
    told = '; '.join(f'process {rank} on {node} {_says(*each)}' for node, rank, each in found)
    raise CheckpointError(
        f'The processes do not begin at one place: {told}. Let all machines share the work dir '
        f'({Path(runner.work_dir).absolute()}), or copy its last checkpoint and last_checkpoint to each of them'
    )


def _says(resume: bool, name: str | None) -> str:
    if name is None:
        return 'has no checkpoint and begins anew'
    return f'{"resumes" if resume else "loads"} {name}'
