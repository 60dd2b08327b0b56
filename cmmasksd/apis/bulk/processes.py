"""The processes of a job that torchrun started; without it, this one alone."""

from __future__ import annotations

import os
from datetime import timedelta

import torch.distributed as dist

from cmmasksd.distributed import leave_process_group

PATIENCE = timedelta(days=30)  # how long the first to end waits for the last


class Processes:
    """A context in which processes wait for one another; they exchange nothing else.

    Attributes:
        rank: of this process.
        count: of all.
    """

    def __init__(self) -> None:
        self.rank, self.count = int(os.environ.get('RANK', '0')), int(os.environ.get('WORLD_SIZE', '1'))

    def __enter__(self) -> Processes:
        if self.count > 1:
            dist.init_process_group('gloo', timeout=PATIENCE)
        return self

    def __exit__(self, *error: object) -> None:
        leave_process_group()

    def wait(self) -> None:
        """Until all processes have come here."""
        if self.count > 1:
            dist.barrier()
