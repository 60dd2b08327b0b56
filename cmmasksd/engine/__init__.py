"""What mmengine's Runner needs beside model and data: hooks, optimisation, the test loop over several splits."""

from cmmasksd.engine.hooks import (
    AccumulatedGradientsHook,
    AtomicCheckpointHook,
    AverageStatisticsHook,
    CheckpointFirstHook,
    CompileHook,
    EpochSeedHook,
    FrozenPartsHook,
    LateDistillationHook,
    MissedValidationHook,
    NonFiniteLossHook,
    ReferringVisualizationHook,
    ResumeHook,
    RunCheckHook,
    StrictLoadHook,
)
from cmmasksd.engine.loops import SplitTestLoop
from cmmasksd.engine.optim import AutocastOptimWrapper, ReferringOptimWrapperConstructor
from cmmasksd.engine.sharding import FullyShardedModel

__all__ = [
    'AccumulatedGradientsHook',
    'AtomicCheckpointHook',
    'AutocastOptimWrapper',
    'AverageStatisticsHook',
    'CheckpointFirstHook',
    'CompileHook',
    'EpochSeedHook',
    'FrozenPartsHook',
    'FullyShardedModel',
    'LateDistillationHook',
    'MissedValidationHook',
    'NonFiniteLossHook',
    'ReferringOptimWrapperConstructor',
    'ReferringVisualizationHook',
    'ResumeHook',
    'RunCheckHook',
    'SplitTestLoop',
    'StrictLoadHook',
]
