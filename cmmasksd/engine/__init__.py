"""What mmengine's Runner needs beside model and data: hooks, optimisation, the test loop over several splits."""

from cmmasksd.engine.hooks import (
    AccumulatedGradientsHook,
    AtomicCheckpointHook,
    AverageStatisticsHook,
    CheckpointFirstHook,
    CompileHook,
    EpochSeedHook,
    MissedValidationHook,
    NonFiniteLossHook,
    ReferringVisualizationHook,
    ResumeHook,
    RunCheckHook,
    StrictLoadHook,
)
from cmmasksd.engine.loops import SplitTestLoop
from cmmasksd.engine.optim import AutocastOptimWrapper, ReferringOptimWrapperConstructor

__all__ = [
    'AccumulatedGradientsHook',
    'AtomicCheckpointHook',
    'AutocastOptimWrapper',
    'AverageStatisticsHook',
    'CheckpointFirstHook',
    'CompileHook',
    'EpochSeedHook',
    'MissedValidationHook',
    'NonFiniteLossHook',
    'ReferringOptimWrapperConstructor',
    'ReferringVisualizationHook',
    'ResumeHook',
    'RunCheckHook',
    'SplitTestLoop',
    'StrictLoadHook',
]
