"""Opens a model by what one has of it: a checkpoint of a run, or a published model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from cmmasksd.apis.inferencer import ReferringInferencer
from cmmasksd.apis.sources import is_on_hub
from cmmasksd.published import is_published
from cmmasksd.work_dirs import find_run_config


def open_inferencer(
    weights: str | Path,
    config: str | Path | Config | None = None,
    device: str | torch.device | None = None,
    precision: str | None = None,
    cache_bytes: int = 0,
) -> ReferringInferencer:
    """Opens a model.

    Args:
        weights: a checkpoint; or a published model: its folder, or its name on the Hugging Face hub (``owner/model``).
        config: of a checkpoint's model; None: the one that the checkpoint's run has left in its work dir.
        device: where to run; by default an accelerator if there is one.
        precision, cache_bytes: see :class:`~cmmasksd.apis.inferencer.ReferringInferencer`.

    Raises:
        FileNotFoundError: no such file, or no config beside it.
        ValueError: as :class:`~cmmasksd.apis.inferencer.ReferringInferencer`, no such published model, or a config for
            one.
    """
    path = Path(weights).expanduser()
    ways: Any = dict(device=device, precision=precision, cache_bytes=cache_bytes)
    if not (path.is_dir() or is_published(path) or (not path.exists() and is_on_hub(weights))):
        if config is None:
            return ReferringInferencer(path if path.is_file() else find_run_config(path), **ways)
        return ReferringInferencer(config, path, **ways)
    _refuse_run(path)
    if config is not None:
        raise ValueError(f'{weights} is no checkpoint, and a published model has its own config: leave {config} out.')
    return ReferringInferencer.from_pretrained(weights, **ways)


def _refuse_run(folder: Path) -> None:
    """The work dir of a run holds several models."""
    if not folder.is_dir() or is_published(folder):
        return
    found = [*sorted(folder.glob('best_*.pth')), *sorted(folder.glob('*.pth'))]
    if found:
        raise ValueError(f'{folder} is the folder of a training: give one of its checkpoints, such as {found[0]}.')
