"""Makes RefShapes' benchmark."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from cmmasksd.datasets.refshapes.benchmark.photographs import check_photographs
from cmmasksd.datasets.refshapes.benchmark.pictures import SPLITS, make_benchmark_picture
from cmmasksd.datasets.refshapes.folder import Edition, Report, make_folder
from cmmasksd.datasets.refshapes.making import check_parameters

DATASET = 'refshapes-benchmark'
NUM_IMAGES = 7500
# (height, width)
IMAGE_SIZES = ((120, 160), (160, 120), (128, 160), (160, 128), (144, 160), (160, 144), (160, 160))

_VERSION = 3  # of what a seed gives; raised whenever that changes


def make_refshapes_benchmark(
    out_dir: str | os.PathLike[str],
    num_images: int = NUM_IMAGES,
    seed: int = 0,
    image_sizes: Sequence[tuple[int, int]] = IMAGE_SIZES,
    num_workers: int = 1,
    report: Report | None = None,
) -> Path:
    """Makes the benchmark of RefShapes in REFER's on-disk format; docs/refshapes.md is its card.

    Writes ``<out_dir>/refshapes-benchmark/{instances.json, refs(unc).p, manifest.json}`` and JPEGs in
    ``<out_dir>/images/train2014/``. Of every 15 pictures 10 are train, with four sentences each, and one each val,
    testA (attributes), testB (absolute positions), testC (relations) and testD (words and phrasings held out of
    training), with two: by default 20,000 training sentences and 1,000 in each other split. Sentences' records hold,
    beside REFER's keys, ``difficulty`` and ``wording``.

    Args, returns and raises as of :func:`make_refshapes`; numbers published for the benchmark are of the defaults.

    Raises:
        FileNotFoundError: scikit-image, whose photographs the pictures are made with, is not there.
        ValueError: it ships other photographs.
    """
    parameters = {
        'generator': __package__,
        'version': _VERSION,
        **check_parameters(num_images, seed, image_sizes),
    }
    check_photographs()
    return make_folder(out_dir, Edition(DATASET, parameters, SPLITS, make_benchmark_picture), num_workers, report)
