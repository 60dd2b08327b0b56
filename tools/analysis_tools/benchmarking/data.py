"""The data pipeline alone, one process, against the least that any pipeline does: decode the JPEG, resize it, copy it
to channels-first.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from cmmasksd.datasets.refshapes import make_refshapes
from cmmasksd.engine.leaves import leaf_configs
from cmmasksd.registry import DATASETS
from cmmasksd.structures import Letterbox

from .inputs import input_size
from .pictures import DATASET, make_coco_like
from .timing import Spread

LOADERS = {'training': 'train_dataloader', 'evaluation': 'val_dataloader'}
PICTURES = 64  # of the set that is made where the config's own is not there


@dataclass(frozen=True)
class DataMeasurement:
    """Seconds of every picture: the whole item of the data set, and the floor, taken in turn on the same picture."""

    source: str
    pipeline: list[float]
    floor: list[float]

    @property
    def share_of_floor(self) -> Spread:
        """Floor over pipeline, picture by picture."""
        return Spread.of([floor / whole for floor, whole in zip(self.floor, self.pipeline)])

    @property
    def images_per_second(self) -> float:
        """Of one core."""
        return 1 / Spread.of(self.pipeline).median


def measure_data(cfg: Config, repeats: int) -> dict[str, DataMeasurement]:
    """Measures the training and the evaluation pipeline, on the config's data where they are there, else on pictures
    made for it.

    One thread, whatever the process has otherwise. ``repeats`` is how often each picture is met.
    """
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    try:
        with data_for(cfg) as (cfg, source):
            return {
                name: _measure(_build(cfg, loader), input_size(cfg), source, repeats)
                for name, loader in LOADERS.items()
            }
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])


@contextmanager
def data_for(cfg: Config) -> Iterator[tuple[Config, str]]:
    """The config on its own data where they are there, else on pictures made for it; and what they are."""
    datasets = list(leaf_configs(cfg.train_dataloader.dataset))
    if all(Path(each.data_root, each.dataset, 'instances.json').is_file() for each in datasets):
        yield cfg, ', '.join(f'{each.dataset} in {each.data_root}' for each in datasets)
        return
    cfg = copy.deepcopy(cfg)
    is_refshapes = all(each.dataset == 'refshapes' for each in datasets)
    with tempfile.TemporaryDirectory(prefix='benchmark-') as folder:
        if is_refshapes:
            make_refshapes(folder, num_images=PICTURES)
        else:
            make_coco_like(Path(folder), PICTURES)
        for loader in LOADERS.values():
            for each in leaf_configs(cfg[loader].dataset):
                each.data_root = folder
                if not is_refshapes:
                    each.update(dataset=DATASET, split_by='unc')
        yield cfg, 'RefShapes, made for this' if is_refshapes else f"{PICTURES} pictures like COCO's, made for this"


def _build(cfg: Config, loader: str) -> Any:
    with DefaultScope.overwrite_default_scope('cmmasksd'):
        return DATASETS.build(cfg[loader].dataset)


def _measure(dataset: Any, size: tuple[int, int], source: str, repeats: int) -> DataMeasurement:
    positions = np.linspace(0, len(dataset) - 1, min(len(dataset), PICTURES)).astype(int).tolist()
    paths = [dataset.get_data_info(position)['img_path'] for position in positions]
    whole, floor = [], []
    for turn in range(repeats + 1):  # the first fills the caches: of files, of tokens
        for position, path in zip(positions, paths):
            works: list[tuple[list[float], Callable[[], object]]] = [
                (whole, partial(dataset.__getitem__, position)),
                (floor, partial(least_work, path, size)),
            ]
            for samples, work in works if turn % 2 else reversed(works):
                seconds = _time(work)
                if turn:
                    samples.append(seconds)
    return DataMeasurement(source, whole, floor)


def _time(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def least_work(path: str, size: tuple[int, int]) -> np.ndarray:
    """A picture (3, h, w) as any pipeline must bring it: decoded, resized cubically to fit ``size``, channels first."""
    picture = cv2.imdecode(np.frombuffer(Path(path).read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    height, width = Letterbox.fit(picture.shape[:2], size).scaled
    return np.ascontiguousarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC).transpose(2, 0, 1))
