"""What is wrong with a published model."""

from __future__ import annotations

from cmmasksd.checkpoints import CheckpointError


class PublishedError(CheckpointError):
    """A published model that cannot be had, read or trusted; the message names the file and the mend."""
