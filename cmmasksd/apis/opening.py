"""Opens a model by what one has of it: a checkpoint of a run, or a published model."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from mmengine.config import Config

from cmmasksd.apis.inferencer import ReferringInferencer
from cmmasksd.published import is_published, open_published
from cmmasksd.work_dirs import find_run_config

HUB_NAME = re.compile(r'[\w-][\w.-]*/[\w-][\w.-]*')


def open_inferencer(
    weights: str | Path, config: str | Path | Config | None = None, device: str | torch.device | None = None
) -> ReferringInferencer:
    """Opens a model.

    Args:
        weights: a checkpoint; or a published model: its folder, or its name on the Hugging Face hub (``owner/model``).
        config: of the model; None: the one that the checkpoint's run has left in its work dir, or that was published.
        device: where to run; by default an accelerator if there is one.

    Raises:
        FileNotFoundError: no such file, or no config beside it.
        ValueError: as :class:`~cmmasksd.apis.inferencer.ReferringInferencer`, or no such published model.
    """
    if config is None:
        config, weights = _find(weights)
    return ReferringInferencer(config, weights, device)


def _find(weights: str | Path) -> tuple[str | Path | Config, Path]:
    path = Path(weights).expanduser()
    on_hub = not path.exists() and not path.suffix and HUB_NAME.fullmatch(str(weights))
    if path.is_dir() or is_published(path) or on_hub:
        return open_published(weights)
    return find_run_config(path), path
