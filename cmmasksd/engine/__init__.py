"""What mmengine's Runner needs beside model and data: hooks, optimisation, the test loop over several splits."""

from cmmasksd.engine.atomic_checkpoint import AtomicCheckpointHook
from cmmasksd.engine.batch_norm_statistics import AverageStatisticsHook
from cmmasksd.engine.compiling import CompileHook
from cmmasksd.engine.hooks import CheckpointFirstHook, EpochSeedHook, ReferringVisualizationHook, StrictLoadHook
from cmmasksd.engine.loops import SplitTestLoop
from cmmasksd.engine.missed_validation import MissedValidationHook
from cmmasksd.engine.non_finite import NonFiniteLossHook
from cmmasksd.engine.optim import AutocastOptimWrapper, ReferringOptimWrapperConstructor

__all__ = [
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
    'SplitTestLoop',
    'StrictLoadHook',
]
