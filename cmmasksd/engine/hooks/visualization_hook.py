"""Panels of what a model answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.structures import SegDataSample
from torch.utils.data import Dataset

from cmmasksd.registry import HOOKS


@HOOKS.register_module()
class ReferringVisualizationHook(Hook):
    """Draws panels (image, expression, prediction, ground truth) of evaluated images.

    Args:
        draw: whether to draw at all; ``--show-dir`` turns it on.
        interval: draw every so many images.
        max_images: draw at most so many images of a data set; None: no limit.
        out_dir: folder below the run's time-stamped one, or an absolute path; None: only to the visualizer's backends.
    """

    def __init__(
        self, draw: bool = False, interval: int = 20, max_images: int | None = 200, out_dir: str | None = None
    ) -> None:
        self.draw = draw
        self.interval = interval
        self.max_images = max_images
        self.out_dir = out_dir
        self._seen = 0

    def before_val_epoch(self, runner: Runner) -> None:
        self._seen = 0

    before_test_epoch = before_val_epoch

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[SegDataSample] | None = None
    ) -> None:
        self._draw(runner, outputs or (), runner.val_dataloader.dataset)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[SegDataSample] | None = None
    ) -> None:
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
