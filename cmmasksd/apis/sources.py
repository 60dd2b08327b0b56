"""What people hand over as a model: a config with weights, a checkpoint alone, or a published model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

from cmmasksd.checkpoints import load_checkpoint_file
from cmmasksd.published import is_published, read_published
from cmmasksd.shipped import open_config
from cmmasksd.work_dirs import find_run_config

CONFIGS = ('.py', '.json', '.yaml', '.yml')
CHECKPOINTS = ('.pth', '.pt', '.ckpt', '.bin', '.safetensors')
HUB_NAME = re.compile(r'[\w-][\w.-]*/[\w-][\w.-]*')


class Source(NamedTuple):
    """Where a model comes from.

    Attributes:
        config: of the model and its test pipeline.
        weights: their file; None: there are none.
        checkpoint: what the file holds, where it had to be read to find the config.
        is_published: whether it is a published model, of which nothing is run and the weights are taken exactly.
    """

    config: Config
    weights: str | Path | None
    checkpoint: Mapping[str, Any] | None = None
    is_published: bool = False


def find_source(config: str | Path | Config, weights: str | Path | None = None) -> Source:
    """Finds a model's config and weights.

    Args:
        config: path of a config, the name of a shipped one, or the config; a checkpoint with its run's config beside
            it; or the folder of a published model.
        weights: checkpoint file, of a config alone.

    Raises:
        FileNotFoundError: no config of that path or name, or none beside the checkpoint.
        PublishedError: a folder that is no published model, or not to be trusted.
        ValueError: weights for what has its own.
    """
    if not isinstance(config, (str, Path)):
        return Source(config if isinstance(config, Config) else open_config(config), weights)
    if is_published(config):
        _refuse_weights(f'{config} is a published model', weights)
        published = read_published(config)
        return Source(published.config, published.weights, is_published=True)
    path = Path(config).expanduser()
    if path.suffix in CHECKPOINTS or (path.is_file() and path.suffix not in CONFIGS):
        _refuse_weights(f'{config} is a checkpoint, no config', weights)
        return _of_run(path)
    return Source(_open(config), weights)


def _of_run(path: Path) -> Source:
    checkpoint = load_checkpoint_file(path) if path.is_file() else {}
    return Source(open_config(find_run_config(path, checkpoint.get('meta'))), path, checkpoint)


def is_on_hub(weights: str | Path) -> bool:
    """Whether something that is not on this machine may be a name on the Hugging Face hub."""
    return Path(weights).suffix not in CHECKPOINTS and bool(HUB_NAME.fullmatch(str(weights)))


def _refuse_weights(what: str, weights: str | Path | None) -> None:
    if weights is not None:
        raise ValueError(f'{what}, which has its weights: leave {weights} out.')


def _open(config: str | Path) -> Config:
    try:
        return open_config(config)
    except FileNotFoundError as error:
        if Path(config).expanduser().is_dir():
            read_published(config)  # tells what the folder lacks
        if is_on_hub(config):
            hint = f"A model of the Hugging Face hub: ReferringInferencer.from_pretrained('{config}')."
            raise FileNotFoundError(f'{error} {hint}') from None
        raise
