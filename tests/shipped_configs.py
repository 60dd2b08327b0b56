"""The configs in configs/, each read once."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[1] / 'configs'
ROOMS = ('cm_masksd', 'cris', 'detris', 'etris', 'lavt')
CONFIGS = sorted(path.relative_to(ROOT).as_posix() for room in ROOMS for path in (ROOT / room).rglob('*.py'))
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


@cache
def load(name: str) -> Config:
    """The config by its path in configs/; not to be changed."""
    return Config.fromfile(ROOT / name)
