"""Makes RefShapes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from cmmasksd.datasets.refer.files import Record
from cmmasksd.datasets.refshapes.folder import Edition, Report, make_folder
from cmmasksd.datasets.refshapes.pictures import SPLITS, make_picture

# (height, width)
DEFAULT_IMAGE_SIZES = ((96, 128), (128, 96), (112, 144), (144, 112), (120, 160), (160, 120), (128, 128))

_VERSION = 2  # of what a seed gives; raised whenever that changes
_SIDES = (64, 4096)  # least and greatest side of a picture, pixels


def make_refshapes(
    out_dir: str | os.PathLike[str],
    num_images: int = 5600,
    seed: int = 0,
    image_sizes: Sequence[tuple[int, int]] = DEFAULT_IMAGE_SIZES,
    num_workers: int = 1,
    report: Report | None = None,
) -> Path:
    """Makes the synthetic referring set RefShapes in REFER's on-disk format.

    Writes ``<out_dir>/refshapes/{instances.json, refs(unc).p, manifest.json}`` and JPEGs in
    ``<out_dir>/images/train2014/``; of every 20 pictures 17 are train and one each val, testA (expressions by
    attribute) and testB (by position or relation). The set is a function of ``num_images``, ``seed`` and
    ``image_sizes``; a set made with fewer pictures is a prefix. A set that is already there with equal parameters is
    left as it is.

    Args:
        out_dir: root of the data, made if missing; other sets in it are not touched.
        num_images: how many pictures, at least 1.
        seed: of all draws, at least 0.
        image_sizes: (height, width) in pixels that each picture's size is drawn from; sides of 64 to 4096, at most 2:1.
        num_workers: processes that draw; their number does not change the result. More than one are spawned, so a
            script that asks for them needs the usual ``if __name__ == '__main__':``.
        report: called with a line of text from time to time, for instance ``print``.

    Returns:
        The folder ``<out_dir>/refshapes``.

    Raises:
        ValueError: if a parameter is out of range.
        FileExistsError: if the folder holds something else, or RefShapes of other parameters.
    """
    parameters = {
        'generator': __package__,
        'version': _VERSION,
        **check_parameters(num_images, seed, image_sizes),
    }
    return make_folder(out_dir, Edition('refshapes', parameters, SPLITS, make_picture), num_workers, report)


def check_parameters(num_images: int, seed: int, image_sizes: Sequence[tuple[int, int]]) -> Record:
    """The parameters as a manifest holds them; raises ValueError where one is out of range."""
    if num_images < 1 or seed < 0:
        raise ValueError(
            f'RefShapes needs num_images >= 1 and seed >= 0, but was given num_images={num_images} and seed={seed}.'
        )
    sizes = [[int(side) for side in size] for size in image_sizes]
    for size in sizes:
        if len(size) != 2 or min(size) < _SIDES[0] or max(size) > _SIDES[1] or max(size) > 2 * min(size):
            raise ValueError(
                f'RefShapes: image size {size} will not do; give (height, width) of {_SIDES[0]} to {_SIDES[1]} '
                'pixels, at most 2:1.'
            )
    if not sizes:
        raise ValueError('RefShapes: image_sizes is empty; give at least one (height, width).')
    return {'num_images': int(num_images), 'seed': int(seed), 'image_sizes': sizes}
