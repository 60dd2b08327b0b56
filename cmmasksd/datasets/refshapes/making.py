"""Makes the RefShapes folder: pictures drawn by one or more processes, annotations in REFER's files, published whole
or not at all.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cmmasksd.datasets.refer.files import Record, count_records, write_refer_files
from cmmasksd.datasets.refshapes.drafts import draft_folder
from cmmasksd.datasets.refshapes.pictures import SPLITS, make_picture, picture_name
from cmmasksd.datasets.refshapes.records import number_records

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
    report: Callable[[str], None] | None = None,
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
    parameters = _check_parameters(num_images, seed, image_sizes)
    if num_workers < 1:
        raise ValueError(f'RefShapes needs num_workers >= 1, but was given {num_workers}.')
    root, report = Path(out_dir), report or (lambda line: None)
    folder = root / 'refshapes'
    if _is_made(root, parameters):
        report(f'{folder} is there already, made with the same parameters: nothing to do.')
        return folder
    root.mkdir(parents=True, exist_ok=True)
    with draft_folder(root) as draft:
        counts = _write(draft, parameters, num_workers, report)
        _publish(draft, root, parameters)
    for split, count in counts.items():
        report(f'{split}: {count["images"]} images, {count["refs"]} refs, {count["sentences"]} sentences')
    report(f'RefShapes is ready in {folder}.')
    return folder


def _check_parameters(num_images: int, seed: int, image_sizes: Sequence[tuple[int, int]]) -> Record:
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
    return {
        'generator': __package__,
        'version': _VERSION,
        'num_images': int(num_images),
        'seed': int(seed),
        'image_sizes': sizes,
    }


def _is_made(root: Path, parameters: Record) -> bool:
    """Whether exactly this set is there, pictures included; raises where something else is in its place."""
    folder = root / 'refshapes'
    if not folder.exists():
        return False
    found = _read_parameters(folder)
    if found != parameters:
        differing = ', '.join(
            f'{name} {found.get(name)} instead of {value}'
            for name, value in parameters.items()
            if found.get(name) != value
        )
        raise FileExistsError(
            f'{folder} holds RefShapes made with other parameters ({differing}): choose another output folder or move '
            'it away.'
        )
    there = {path.name for path in _image_folder(root).glob('refshapes_*.jpg')}
    missing = [
        name
        for name in (picture_name(index, parameters) for index in range(parameters['num_images']))
        if name not in there
    ]
    if missing:
        raise FileExistsError(
            f'{folder} is complete but {len(missing)} of its pictures are not in {_image_folder(root)} '
            f'(the first is {missing[0]}): put them back, or move {folder} away to make the set anew.'
        )
    return True


def _read_parameters(folder: Path) -> Record:
    manifest = folder / 'manifest.json'
    if not manifest.is_file():
        raise FileExistsError(
            f'{folder} has no manifest.json, so RefShapes did not make it: choose another output folder or move it '
            'away.'
        )
    try:
        return json.loads(manifest.read_text())['parameters']
    except (ValueError, KeyError, TypeError) as error:
        raise FileExistsError(
            f'{manifest} is not a manifest of RefShapes: choose another output folder or move {folder} away.'
        ) from error


def _image_folder(root: Path) -> Path:
    return root / 'images' / 'train2014'


def _write(draft: Path, parameters: Record, num_workers: int, report: Callable[[str], None]) -> Record:
    """Writes ``images/`` and ``refshapes/`` into the draft folder; returns the counts by split."""
    (draft / 'images').mkdir()
    (draft / 'refshapes').mkdir()
    total = parameters['num_images']
    make = functools.partial(make_picture, parameters=parameters, folder=draft / 'images')
    pictures = []
    with _mapper(num_workers, total) as map_in_order:
        for done, picture in enumerate(map_in_order(make, range(total)), start=1):
            pictures.append(picture)
            if done * 10 // total > (done - 1) * 10 // total:
                report(f'RefShapes: {done} of {total} images drawn ({100 * done // total} %)')
    instances, refs = number_records(pictures)
    found = count_records(refs)
    counts = {split: found[split] for split in dict.fromkeys(SPLITS) if split in found}
    write_refer_files(draft / 'refshapes', 'unc', instances, refs)
    (draft / 'refshapes' / 'manifest.json').write_text(
        json.dumps({'parameters': parameters, 'counts': counts}, indent=2) + '\n'
    )
    return counts


@contextmanager
def _mapper(num_workers: int, total: int) -> Iterator[Callable]:
    """A ``map`` that keeps the order, in this process or in several. Spawned: a fork of a process with threads may
    hang.
    """
    if num_workers == 1:
        yield map
        return
    with multiprocessing.get_context('spawn').Pool(num_workers) as pool:
        yield functools.partial(pool.imap, chunksize=max(1, min(50, total // (4 * num_workers))))


def _publish(draft: Path, root: Path, parameters: Record) -> None:
    """Moves the pictures to their place and then, in one step, the annotations, which mark the set as finished."""
    images = _image_folder(root)
    images.mkdir(parents=True, exist_ok=True)
    for index in range(parameters['num_images']):
        name = picture_name(index, parameters)
        (draft / 'images' / name).replace(images / name)
    try:  # another process may have made the same set meanwhile
        (draft / 'refshapes').rename(root / 'refshapes')
    except OSError:
        if not _is_made(root, parameters):
            raise
