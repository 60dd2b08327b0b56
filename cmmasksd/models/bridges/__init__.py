"""Bridges: carry features between the layers of the two encoders while they run."""

from cmmasksd.models.bridges.stage_bridge import StageBridge

__all__ = ['StageBridge']
