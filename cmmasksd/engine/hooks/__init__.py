"""Hooks of mmengine's Runner, one a file."""

from cmmasksd.engine.hooks.accumulated_gradients_hook import AccumulatedGradientsHook
from cmmasksd.engine.hooks.atomic_checkpoint_hook import AtomicCheckpointHook
from cmmasksd.engine.hooks.average_statistics_hook import AverageStatisticsHook
from cmmasksd.engine.hooks.checkpoint_first_hook import CheckpointFirstHook
from cmmasksd.engine.hooks.compile_hook import CompileHook
from cmmasksd.engine.hooks.epoch_seed_hook import EpochSeedHook
from cmmasksd.engine.hooks.frozen_parts_hook import FrozenPartsHook
from cmmasksd.engine.hooks.late_distillation_hook import LateDistillationHook
from cmmasksd.engine.hooks.missed_validation_hook import MissedValidationHook
from cmmasksd.engine.hooks.non_finite_loss_hook import NonFiniteLossHook
from cmmasksd.engine.hooks.resume_hook import ResumeHook
from cmmasksd.engine.hooks.run_check_hook import RunCheckHook
from cmmasksd.engine.hooks.strict_load_hook import StrictLoadHook
from cmmasksd.engine.hooks.visualization_hook import ReferringVisualizationHook

__all__ = [
    'AccumulatedGradientsHook',
    'AtomicCheckpointHook',
    'AverageStatisticsHook',
    'CheckpointFirstHook',
    'CompileHook',
    'EpochSeedHook',
    'FrozenPartsHook',
    'LateDistillationHook',
    'MissedValidationHook',
    'NonFiniteLossHook',
    'ReferringVisualizationHook',
    'ResumeHook',
    'RunCheckHook',
    'StrictLoadHook',
]
