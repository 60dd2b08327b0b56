"""Writes the folder of a published model."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from safetensors.torch import save_file
from torch import Tensor

import cmmasksd
from cmmasksd.apis.publishing.card import write_card
from cmmasksd.apis.publishing.results import find_results
from cmmasksd.apis.publishing.settings import describe
from cmmasksd.checkpoints import load_checkpoint_file
from cmmasksd.published import (
    PublishedError,
    build_published,
    check_exactly,
    is_published,
    load_published,
    read_published,
)
from cmmasksd.published.config import check_content
from cmmasksd.published.folder import CARD, CONFIG, WEIGHTS
from cmmasksd.published.weights import BRANCHES, DIGEST, digest
from cmmasksd.shipped import open_config
from cmmasksd.work_dirs import find_run_config


def write_published(
    source: str | Path,
    destination: str | Path,
    config: str | Path | Config | None = None,
    results: str | Path | None = None,
    license: str | None = None,
) -> Path:
    """Publishes a checkpoint as a folder of ``model.safetensors``, ``config.json`` and a model card.

    The folder is read back into a new model, and compared bit by bit, before it gets its name.

    Args:
        source: checkpoint of a training run.
        destination: the folder to write; one that is there must be a published model, which is replaced, or empty.
        config: path, shipped name, or config; None: the one that the run left beside the checkpoint.
        results: what ``tools/test.py --out`` wrote of this checkpoint; None: what lies beside it.
        license: of the weights, as the hub names licences (``apache-2.0``); None: the card says that it is not known.

    Raises:
        CheckpointError: the checkpoint cannot be read, or is another config's.
        PublishedError: no config, one that cannot be published, or a destination that holds something else.
        FileNotFoundError: no config of that path or name.
    """
    source, destination = Path(source).expanduser(), Path(destination).expanduser()
    _check_destination(destination)
    checkpoint = load_checkpoint_file(source)
    weights = inference_weights(checkpoint, source)
    cfg = config if isinstance(config, Config) else open_config(config or _config_of(checkpoint, source))
    measured = find_results(checkpoint, source, cfg, results)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f'.{destination.name}-', dir=destination.parent) as made:
        folder = Path(made) / destination.name
        folder.mkdir()
        content = describe(cfg, folder)
        check_content(content, str(cfg.filename or 'the config'))
        (folder / CONFIG).write_text(json.dumps(content, indent=2, allow_nan=False) + '\n', encoding='utf-8')
        metadata = {'format': 'pt', 'cmmasksd': cmmasksd.__version__, DIGEST: digest(weights)}
        save_file(weights, folder / WEIGHTS, metadata=metadata)
        (folder / WEIGHTS).chmod((folder / CONFIG).stat().st_mode)  # safetensors lets the owner alone read it
        _check(folder, weights, source)
        write_card(folder / CARD, destination.name, content, cfg, measured, license)
        if destination.exists():
            shutil.rmtree(destination)
        os.replace(folder, destination)
    return destination


def inference_weights(checkpoint: Mapping[str, Any], source: str | Path) -> dict[str, Tensor]:
    """Those of the main branch, on the CPU, each in memory of its own; distillation branches vanish at inference.

    Raises:
        PublishedError: it is not the checkpoint of a training run.
    """
    state = checkpoint.get('state_dict')
    if not isinstance(state, dict):
        raise PublishedError(
            f'{source} has no state_dict: give a checkpoint of a training run, such as best_mIoU_*.pth'
        )
    return {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in state.items()
        if not name.startswith(BRANCHES)
    }


def _config_of(checkpoint: Mapping[str, Any], path: Path) -> Path:
    """The config that a run left with its checkpoint.

    Raises:
        PublishedError: none, or several.
    """
    try:
        return find_run_config(path, checkpoint.get('meta'))
    except (FileNotFoundError, ValueError) as error:
        found = [each.name for each in sorted(path.parent.glob('*.py'))]
        have = f'{len(found)} configs ({", ".join(found[:3])})' if found else 'no config'
        raise PublishedError(
            f'{path.parent} holds {have}: give --config, the one that {path.name} was trained with'
        ) from error


def _check_destination(destination: Path) -> None:
    if not destination.exists() or is_published(destination):
        return
    if not destination.is_dir() or any(destination.iterdir()):
        raise PublishedError(f'{destination} is there already and no published model: choose another folder')


def _check(folder: Path, weights: Mapping[str, Tensor], source: Path) -> None:
    """Builds the model of what was written and loads the weights, as whoever gets it will."""
    published = read_published(folder)
    model = build_published(published.config)
    check_exactly(model, weights, str(source), mend='give --config, the one that it was trained with')
    load_published(model, published.weights)
    own = model.state_dict()
    if any(not own[name].equal(tensor) for name, tensor in weights.items()):
        raise PublishedError(f'{source} did not come back bit by bit: check the disk at {folder.parent}')
