"""Where in an epoch a run is, which mmengine does not keep."""

from __future__ import annotations

from mmengine.runner import Runner

EPOCH_START = 'epoch_start'  # in the message hub, which checkpoints hold: number and first iteration of an epoch


def iterations_into_epoch(runner: Runner) -> int:
    """How many iterations of the epoch at hand are done; more than 0 before the first one in a run resumed from a
    checkpoint that was written by iteration. Epoch-based loops only: others have no epochs.
    """
    epoch, first = runner.message_hub.runtime_info.get(EPOCH_START, (None, 0))
    return runner.iter - first if epoch == runner.epoch else 0


def remember_epoch_start(runner: Runner) -> None:
    """Notes that an epoch begins."""
    runner.message_hub.update_info(EPOCH_START, (runner.epoch, runner.iter))
