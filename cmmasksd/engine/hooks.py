"""Hooks of mmengine's Runner."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import torch
from mmengine.dataset import ClassBalancedDataset, RepeatDataset
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop, Runner, find_latest_checkpoint
from mmseg.structures import SegDataSample
from torch.utils.data import ConcatDataset, Dataset

from cmmasksd.checkpoints import check_weights
from cmmasksd.registry import HOOKS


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Makes an epoch's draws a function of (seed, epoch), so that a resumed run continues exactly.

    Before an epoch's first batch is asked for, the training set learns (seed, epoch), from which it draws sentences per sample. When that batch
    has come, torch's generators, from which masks and dropout are drawn, are seeded from (seed, rank, epoch): not earlier, for whether a data
    loader draws from them at an epoch's start depends on its workers. Under an iteration-based loop a pass over the data counts as an epoch.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        self._seed_data(runner)

    def before_train_epoch(self, runner: Runner) -> None:
        self._seed_data(runner)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter % len(runner.train_dataloader) == 0:
            self._seed_data(runner)
            torch.manual_seed(int(np.random.SeedSequence((runner.seed, runner.rank, self._epoch(runner))).generate_state(1)[0]))

    def _seed_data(self, runner: Runner) -> None:
        for dataset in innermost_datasets(runner.train_dataloader.dataset):
            if hasattr(dataset, 'set_epoch'):
                dataset.set_epoch(self._epoch(runner), runner.seed)

    @staticmethod
    def _epoch(runner: Runner) -> int:
        return runner.iter // len(runner.train_dataloader)


def innermost_datasets(dataset: Dataset) -> Iterator[Dataset]:
    """The data sets inside mmengine's wrappers (ConcatDataset, RepeatDataset, ClassBalancedDataset)."""
    if isinstance(dataset, (RepeatDataset, ClassBalancedDataset)):
        yield from innermost_datasets(dataset.dataset)
    elif isinstance(dataset, ConcatDataset):
        for part in dataset.datasets:
            yield from innermost_datasets(part)
    else:
        yield dataset


@HOOKS.register_module()
class CheckpointFirstHook(Hook):
    """Skips reading CLIP's weights when a checkpoint is about to be loaded or resumed; mmengine would read both."""

    def before_run(self, runner: Runner) -> None:
        if runner._load_from is None and not (runner._resume and find_latest_checkpoint(runner.work_dir)):
            return
        for module in runner.model.modules():
            if getattr(module, 'pretrained', None) is not None:
                module.pretrained = None


@HOOKS.register_module()
class StrictLoadHook(Hook):
    """Refuses to evaluate or resume with the checkpoint of another model; a training run's ``load_from`` may load a part."""

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        if not isinstance(runner._train_loop, BaseLoop) or runner._resume:
            model = runner.model.module if is_model_wrapper(runner.model) else runner.model
            check_weights(model, checkpoint.get('state_dict', checkpoint), 'The checkpoint')


@HOOKS.register_module()
class ReferringVisualizationHook(Hook):
    """Draws panels (image, expression, prediction, ground truth) of evaluated images.

    Args:
        draw: whether to draw at all; ``--show-dir`` turns it on.
        interval: draw every so many images.
        max_images: draw at most so many images of a data set; None: no limit.
        out_dir: folder below the run's time-stamped one, or an absolute path; None: only to the visualizer's backends.
    """

    def __init__(self, draw: bool = False, interval: int = 20, max_images: int | None = 200, out_dir: str | None = None) -> None:
        self.draw = draw
        self.interval = interval
        self.max_images = max_images
        self.out_dir = out_dir
        self._seen = 0

    def before_val_epoch(self, runner: Runner) -> None:
        self._seen = 0

    before_test_epoch = before_val_epoch

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[SegDataSample] | None = None) -> None:
        self._draw(runner, outputs or (), runner.val_dataloader.dataset)

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[SegDataSample] | None = None) -> None:
        self._draw(runner, outputs or (), runner.test_dataloader.dataset)

    def _draw(self, runner: Runner, samples: Sequence[SegDataSample], dataset: Dataset) -> None:
        if not self.draw or runner.rank != 0:
            return
        split = getattr(dataset, 'split', 'test')
        for sample in samples:
            drawn, wanted = divmod(self._seen, self.interval)
            self._seen += 1
            if wanted != 0 or (self.max_images is not None and drawn >= self.max_images):
                continue
            stem = Path(sample.img_path).stem
            out_file = None if self.out_dir is None else str(Path(runner.log_dir, self.out_dir, split, f'{stem}.png'))
            image = mmcv.bgr2rgb(mmcv.imread(sample.img_path, flag='color_ignore_orientation'))
            runner.visualizer.add_datasample(f'{split}_{stem}', image, sample, out_file=out_file, step=runner.iter)

