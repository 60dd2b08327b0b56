"""Draws that depend on nothing but the seed and the place in the run."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmengine.device import get_device
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from torch.utils.data import BatchSampler

from cmmasksd.engine.draws import PlacedItems, PlacingSampler, place_indices
from cmmasksd.engine.progress import iterations_into_epoch, remember_epoch_start
from cmmasksd.registry import HOOKS


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Makes every draw a function of the seed and the place in the run, so that a resumed run continues exactly.

    What an item draws follows (seed, pass over the data, index in the outermost data set), whatever the loop, the
    sampler, the wrappers of the data set and the workers; what the model draws (masks, dropout) follows (seed, rank,
    iteration). An epoch-based run that was saved within an epoch goes on with that epoch's next batch.
    """

    priority = 'VERY_HIGH'

    def before_run(self, runner: Runner) -> None:
        self._seed_at_start = runner.seed

    def before_train(self, runner: Runner) -> None:
        """Places the indices; the seed may have changed since the samplers were built, to that of a resumed run."""
        loop = runner.train_loop
        sampler = place_indices(loop.dataloader)
        if getattr(sampler, 'seed', None) == self._seed_at_start:
            sampler.seed = runner.seed  # type: ignore[attr-defined]
        loop.dataloader.dataset.__getitems__ = PlacedItems(loop.dataloader.dataset, runner.seed)
        if isinstance(loop, IterBasedTrainLoop):
            # official mmengine's workers have begun already, with other indices
            loop.dataloader._iterator = None
            loop.dataloader_iterator = type(loop.dataloader_iterator)(loop.dataloader)

    def before_train_epoch(self, runner: Runner) -> None:
        """The passes of an epoch-based run have its epochs' numbers; an iteration-based one counts them as they come,
        and goes through those before a resume again.
        """
        batches = runner.train_dataloader.batch_sampler
        if isinstance(runner.train_loop, IterBasedTrainLoop) or not isinstance(batches.sampler, PlacingSampler):
            return
        batches.sampler.epoch = runner.epoch
        done = iterations_into_epoch(runner)
        if done and type(batches) is BatchSampler:  # others may make batches of any indices
            batches.sampler.skip_once = done * batches.batch_size
            runner.logger.info(f'Epoch {runner.epoch + 1} goes on after its first {done} iterations.')
        else:
            remember_epoch_start(runner)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seeds when the batch has come: loading it may draw, depending on the workers. This takes 15 microseconds;
        ``torch.manual_seed``, which looks for every kind of device, takes 150 on a CPU.
        """
        seed = int(np.random.SeedSequence((runner.seed, runner.rank, runner.iter)).generate_state(1)[0])
        torch.default_generator.manual_seed(seed)
        if get_device() != 'cpu':
            torch.get_device_module(get_device()).manual_seed(seed)
