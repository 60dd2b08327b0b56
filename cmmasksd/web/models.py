"""Which model the page serves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

WORK_DIRS = Path('work_dirs')
QUICK_START = WORK_DIRS / 'quickstart'
BEST = 'best_*.pth'


@dataclass(frozen=True)
class Model:
    """What an inferencer is built of.

    Attributes:
        config: path of a config, or the name of a shipped one.
        weights: checkpoint file.
    """

    config: str
    weights: str

    @property
    def name(self) -> str:
        """The weights' file and the folder that it lies in."""
        return '/'.join(Path(self.weights).absolute().parts[-2:])


def find_model(weights: str | None = None, config: str | None = None) -> Model:
    """The model that was asked for, or the newest that a training left here.

    Args:
        weights: checkpoint file; None: the newest best one of the quick start, or else of any run in ``work_dirs``.
        config: path or name; None: the copy that the training left beside the weights.

    Raises:
        FileNotFoundError: no such file, or nothing was trained here.
        ValueError: a config is needed, and none or several lie beside the weights.
    """
    path = Path(weights).expanduser() if weights else _newest()
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file. Give --weights a checkpoint, such as best_mIoU_epoch_2.pth.')
    return Model(config or _config_beside(path), str(path))


def _newest() -> Path:
    found = list(QUICK_START.glob(BEST)) or list(WORK_DIRS.glob(f'*/{BEST}'))
    if not found:
        raise FileNotFoundError(
            f'There is no model yet: {WORK_DIRS.absolute()} holds no {BEST}. Train a small one by `bash '
            'tools/quickstart.sh` (some ten minutes on two CPU cores), run this where it did, or give --weights '
            'CHECKPOINT and --config CONFIG.'
        )
    return max(found, key=lambda path: path.stat().st_mtime)


def _config_beside(weights: Path) -> str:
    found = sorted(weights.parent.glob('*.py'))
    if len(found) == 1:
        return str(found[0])
    there = f'{len(found)} configs lie' if found else 'no config lies'
    raise ValueError(f'{there} beside {weights}: give --config, a path or a name such as vit-tiny_refshapes.')
