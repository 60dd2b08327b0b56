"""Panels of what a model answers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.structures import SegDataSample
from torch.utils.data import Dataset

from cmmasksd.engine.leaves import leaf_datasets
from cmmasksd.registry import HOOKS


@HOOKS.register_module()
class ReferringVisualizationHook(Hook):
    """Draws panels (image, expression, prediction, ground truth) of evaluated images, and says how many of how many.

    Of several processes the main one draws, of the images that it evaluates.

    Args:
        draw: whether to draw at all; ``--show-dir`` and ``--show`` turn it on.
        interval: draw every so many images; None: so many that ``max_images`` are spread over the whole data set.
        max_images: draw at most so many images of a data set; None: no limit.
        out_dir: folder below the run's time-stamped one, or an absolute path; None: only to the visualizer's backends.
        show: also open a window for each panel; where none can be opened, a warning says so once.
        wait_time: seconds that a window stays; 0 waits for the space key.

    Raises:
        ValueError: an interval or a number of images that is no whole number of at least 1, or a negative wait.
    """

    def __init__(
        self,
        draw: bool = False,
        interval: int | None = None,
        max_images: int | None = 100,
        out_dir: str | None = None,
        show: bool = False,
        wait_time: float = 2,
    ) -> None:
        for name, value in (('interval', interval), ('max_images', max_images)):
            if value is not None and (type(value) is not int or value < 1):
                raise ValueError(
                    f'default_hooks.visualization.{name} must be a whole number of at least 1, or None, got {value!r}.'
                )
        if isinstance(wait_time, bool) or not isinstance(wait_time, (int, float)) or not wait_time >= 0:
            raise ValueError(f'default_hooks.visualization.wait_time must be seconds, at least 0, got {wait_time!r}.')
        self.draw = draw
        self.interval = interval
        self.max_images = max_images
        self.out_dir = out_dir
        self.show = show
        self.wait_time = wait_time
        self._start()

    def _start(self) -> None:
        self._seen = 0
        self._drawn: Counter[str] = Counter()

    def before_val_epoch(self, runner: Runner) -> None:
        self._start()

    before_test_epoch = before_val_epoch

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[SegDataSample] | None = None
    ) -> None:
        self._draw(runner, outputs or (), runner.val_dataloader.dataset, runner.iter)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[SegDataSample] | None = None
    ) -> None:
        # runner.iter would read the training data, which a test does without
        self._draw(runner, outputs or (), runner.test_dataloader.dataset, step=0)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._tell(runner, runner.val_dataloader.dataset)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._tell(runner, runner.test_dataloader.dataset)

    def _draw(self, runner: Runner, samples: Sequence[SegDataSample], dataset: Dataset, step: int) -> None:
        if not self.draw or runner.rank != 0:
            return
        split, interval = _split_name(dataset), self._interval(dataset, runner.world_size)
        for sample in samples:
            wanted = self._seen % interval == 0
            self._seen += 1
            if not wanted or (self.max_images is not None and self._drawn.total() >= self.max_images):
                continue
            stem = Path(sample.img_path).stem
            self._drawn[stem] += 1  # joined data sets may hold a picture, or its name, more than once
            name = stem if self._drawn[stem] == 1 else f'{stem}_{self._drawn[stem]}'
            out_file = str(self._folder(runner, split) / f'{name}.png') if self.out_dir is not None else None
            shown = dict(show=True, wait_time=self.wait_time) if self.show else {}
            image = _read(sample)
            runner.visualizer.add_datasample(f'{split}_{name}', image, sample, out_file=out_file, step=step, **shown)

    def _interval(self, dataset: Dataset, processes: int) -> int:
        if self.interval is not None:
            return self.interval
        return 1 if self.max_images is None else max(1, math.ceil(len(dataset) / processes / self.max_images))  # type: ignore[arg-type]  # mmengine's data sets have lengths

    def _folder(self, runner: Runner, split: str) -> Path:
        return Path(runner.log_dir, self.out_dir or '', split)

    def _tell(self, runner: Runner, dataset: Dataset) -> None:
        if not self.draw or runner.rank != 0:
            return
        split, interval = _split_name(dataset), self._interval(dataset, runner.world_size)
        where = 'the visualizer' if self.out_dir is None else f'{self._folder(runner, split)}'
        share = '' if runner.world_size == 1 else f' that this one of {runner.world_size} processes evaluated'
        rest = ''
        if self._drawn.total() < self._seen:
            limit = '' if self.max_images is None else f', at most {self.max_images}'
            rest = (
                f' (one in {interval}{limit}; all by `--show-interval 1` of tools/test.py, or by '
                'default_hooks.visualization.interval=1 and .max_images=None)'
            )
        runner.logger.info(
            f'Panels of {self._drawn.total()} of {self._seen} images of {split}{share} went to {where}{rest}.'
        )


def _read(sample: SegDataSample) -> np.ndarray:
    """The picture as its masks lie: mirrored where the pipeline has mirrored it."""
    image = mmcv.bgr2rgb(mmcv.imread(sample.img_path, flag='color_ignore_orientation'))
    return np.ascontiguousarray(image[:, ::-1]) if getattr(sample, 'flip', False) else image


def _split_name(dataset: Dataset) -> str:
    return getattr(next(leaf_datasets(dataset)), 'split', 'test')
