"""A published model on the data of a config."""

from __future__ import annotations

import copy
from pathlib import Path

from mmengine.config import Config

from cmmasksd.engine.leaves import leaf_configs
from cmmasksd.published import read_published


def use_published(cfg: Config, folder: str | Path) -> None:
    """Puts model, pipeline and weights of a published folder in the place of a config's; its test data stay. ``cfg`` is
    changed.

    Raises:
        PublishedError: the folder cannot be read or trusted.
    """
    published = read_published(folder)
    cfg.model = published.config.model
    for dataset in leaf_configs(cfg.test_dataloader.dataset):
        dataset.pipeline = copy.deepcopy(published.config.test_dataloader.dataset.pipeline)
    cfg.load_from = str(published.weights)
