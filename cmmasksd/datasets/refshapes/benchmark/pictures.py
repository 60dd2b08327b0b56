"""One picture of the benchmark, from its number."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cmmasksd.datasets.refer.files import Record
from cmmasksd.datasets.refshapes.benchmark.painting import paint_photographed
from cmmasksd.datasets.refshapes.benchmark.scenes import draw_twin_scene
from cmmasksd.datasets.refshapes.benchmark.speaking import plan, speak_of
from cmmasksd.datasets.refshapes.pictures import draw_content, picture_name, write_jpeg
from cmmasksd.datasets.refshapes.records import describe_picture

SPLITS = ('train', 'val', 'testA', 'testB', 'testC', 'testD', *('train',) * 9)  # of pictures 0 to 14, of 15 to 29, ...
_JPEG_QUALITIES = (70, 96)


def make_benchmark_picture(index: int, parameters: Record, folder: Path) -> Record:
    """Draws picture ``index``, writes its JPEG and returns its records. All draws depend on (seed, index) alone."""
    rng = np.random.default_rng([parameters['seed'], index])
    height, width = parameters['image_sizes'][rng.integers(len(parameters['image_sizes']))]
    split = SPLITS[index % len(SPLITS)]
    planned = plan(split, rng)
    scene, view, spoken = draw_content(
        lambda: draw_twin_scene(rng, height, width), lambda view: speak_of(view, planned, split, rng)
    )
    path = folder / picture_name(index, parameters)
    picture = paint_photographed(scene, view, split == 'train', rng)
    write_jpeg(path, picture, int(rng.integers(*_JPEG_QUALITIES)))
    return describe_picture(path.name, split, scene, view, spoken, rng)
