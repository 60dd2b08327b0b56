"""Checkpoints and CLIP's weights, read safely: files of strangers are data, and nothing in them is run."""

from cmmasksd.checkpoints.loading import check_weights, load_into, load_weights
from cmmasksd.checkpoints.reading import CheckpointError, load_checkpoint_file, register_safe_loader

__all__ = [
    'CheckpointError',
    'check_weights',
    'load_checkpoint_file',
    'load_into',
    'load_weights',
    'register_safe_loader',
]
