"""Draws that depend on nothing but the seed and the place in the run."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from cmmasksd.engine.leaves import leaf_datasets
from cmmasksd.registry import HOOKS


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Makes an epoch's draws a function of (seed, epoch), so that a resumed run continues exactly.

    Before an epoch's first batch is asked for, the training set learns (seed, epoch), from which it draws sentences per
    sample. When that batch has come, torch's generators, from which masks and dropout are drawn, are seeded from (seed,
    rank, epoch): not earlier, for whether a data loader draws from them at an epoch's start depends on its workers.
    Under an iteration-based loop a pass over the data counts as an epoch.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        self._seed_data(runner)

    def before_train_epoch(self, runner: Runner) -> None:
        self._seed_data(runner)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter % len(runner.train_dataloader) == 0:
            self._seed_data(runner)
            torch.manual_seed(
                int(np.random.SeedSequence((runner.seed, runner.rank, self._epoch(runner))).generate_state(1)[0])
            )

    def _seed_data(self, runner: Runner) -> None:
        for dataset in leaf_datasets(runner.train_dataloader.dataset):
            if hasattr(dataset, 'set_epoch'):
                dataset.set_epoch(self._epoch(runner), runner.seed)

    @staticmethod
    def _epoch(runner: Runner) -> int:
        return runner.iter // len(runner.train_dataloader)
