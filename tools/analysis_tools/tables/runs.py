"""The runs of a table: a config and a seed each, in a folder of its own, which says how far it is."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cmmasksd.shipped import find_config, open_config
from cmmasksd.work_dirs import LAST

TINY = 'vit-tiny_refshapes'
SETTINGS, TRAINED = 'run.json', 'trained'


class TableError(ValueError):
    """Runs that cannot be begun or gone on with; the message names the folder and the mend."""


@dataclass(frozen=True)
class Run:
    """A config trained with one seed, and evaluated.

    Attributes:
        row: name of the row's shipped config.
        seed: the training's.
        config: file of the config that is trained.
        folder: work dir of the run.
        checkpoint: which one is evaluated, ``best`` (by val's mIoU) or ``last``.
        settings: all that its numbers depend on.
    """

    row: str
    seed: int
    config: Path
    folder: Path
    checkpoint: str
    settings: Mapping[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        """How messages call it."""
        return f'{self.row}, seed {self.seed}'

    @property
    def metrics_file(self) -> Path:
        """Where its metrics are, once it is finished."""
        return self.folder / f'metrics_{self.checkpoint}.json'

    @property
    def is_trained(self) -> bool:
        """Whether nothing is left to train."""
        return (self.folder / TRAINED).exists()

    def find_checkpoint(self) -> Path:
        """The checkpoint to evaluate; the last one where the training has marked none as best.

        Raises:
            TableError: the training has left none.
        """
        best = sorted(self.folder.glob('best_mIoU_*.pth'), key=lambda path: path.stat().st_mtime)
        if self.checkpoint == 'best' and best:
            return best[-1]
        pointer = self.folder / LAST
        if not pointer.is_file():
            raise TableError(f'{self.folder} is trained but holds no checkpoint: remove the folder to train anew.')
        return self.folder / Path(pointer.read_text().strip()).name

    def claim(self) -> None:
        """Writes down what the run is; gone on with, it must be the same.

        Raises:
            TableError: the folder holds a run of other settings.
        """
        file = self.folder / SETTINGS
        if not file.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            write(file, json.dumps(self.settings, indent=2) + '\n')
            return
        found = json.loads(file.read_text())
        differing = [key for key in {**found, **self.settings} if found.get(key) != self.settings.get(key)]
        if differing:
            what = '; '.join(f'{key} {found.get(key)}, now {self.settings.get(key)}' for key in sorted(differing))
            raise TableError(f'{self.folder} holds a run of other settings ({what}): choose another --work-dir.')


def plan(
    rows: Sequence[str], seeds: Sequence[int], data: str, folder: Path, checkpoint: str, settings: Mapping[str, Any]
) -> list[Run]:
    """The runs of rows, seed by seed, so that a first number of every row is there early.

    Args:
        rows: names of shipped configs.
        seeds: one run of every row for each.
        data: ``refcoco``: the configs as they are; ``refshapes``: their branches on the quick start's model and data.
        folder: gets a folder for each row, and a work dir in it for each seed.
        checkpoint: see :class:`Run`.
        settings: what else the numbers depend on: options, processes.
    """
    configs, branches = {}, {}
    for row in rows:
        distillation = open_config(row).model.distillation
        branches[row] = [branch.to_dict() for branch in distillation]
        configs[row] = Path(find_config(row)) if data == 'refcoco' else write_tiny(row, branches[row], folder / row)
    return [
        Run(
            row,
            seed,
            configs[row],
            folder / row / f'seed_{seed}',
            checkpoint,
            {**settings, 'row': row, 'data': data, 'seed': seed, 'distillation': branches[row]},
        )
        for seed in seeds
        for row in rows
    ]


def write_tiny(row: str, distillation: list[dict[str, Any]], folder: Path) -> Path:
    """The quick start's config with the branches of a row, as a file."""
    file = folder / f'{row}.py'
    text = (
        f'# The branches of {row}.py on the model and the data of the quick start.\n'
        f"_base_ = 'cmmasksd::cm_masksd/{TINY}.py'\n"
        f'model = dict(distillation={distillation!r})\n'
    )
    if not file.exists() or file.read_text() != text:
        folder.mkdir(parents=True, exist_ok=True)
        write(file, text)
    return file


def write(file: Path, text: str) -> None:
    """Writes a file in one step: it is there as a whole or not at all."""
    part = file.with_name(f'.{file.name}.{os.getpid()}')
    part.write_text(text)
    part.replace(file)
