"""A set's folder: pictures drawn by one or more processes, annotations in REFER's files, published whole or not at
all.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2

from cmmasksd.datasets.refer.files import Record, count_records, write_refer_files
from cmmasksd.datasets.refshapes.drafts import draft_folder
from cmmasksd.datasets.refshapes.pictures import picture_name
from cmmasksd.datasets.refshapes.records import number_records

Report = Callable[[str], None]


@dataclass(frozen=True)
class Edition:
    """A set to be made.

    Attributes:
        dataset: its folder's name.
        parameters: all that it depends on; among them ``num_images``.
        splits: in the order in which they are counted.
        make_picture: draws a picture by its number; given ``parameters`` and the ``folder`` of the pictures, gives its
            records.
    """

    dataset: str
    parameters: Record
    splits: tuple[str, ...]
    make_picture: Callable[..., Record]


def make_folder(
    out_dir: str | os.PathLike[str], edition: Edition, num_workers: int, report: Report | None = None
) -> Path:
    """Makes the set, unless it is there already; gives ``<out_dir>/<dataset>``.

    Raises:
        ValueError: no worker.
        FileExistsError: the folder holds something else, or a set of other parameters.
    """
    if num_workers < 1:
        raise ValueError(f'RefShapes needs num_workers >= 1, but was given {num_workers}.')
    root, report = Path(out_dir), report or (lambda line: None)
    folder = root / edition.dataset
    if _is_made(root, edition):
        report(f'{folder} is there already, made with the same parameters: nothing to do.')
        return folder
    root.mkdir(parents=True, exist_ok=True)
    with draft_folder(root) as draft:
        counts = _write(draft, edition, num_workers, report)
        _publish(draft, root, edition)
    for split, count in counts.items():
        report(f'{split}: {count["images"]} images, {count["refs"]} refs, {count["sentences"]} sentences')
    report(f'RefShapes is ready in {folder}.')
    return folder


def _is_made(root: Path, edition: Edition) -> bool:
    """Whether exactly this set is there, pictures included; raises where something else is in its place."""
    folder, parameters = root / edition.dataset, edition.parameters
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


def _write(draft: Path, edition: Edition, num_workers: int, report: Report) -> Record:
    """Writes ``images/`` and ``annotations/`` into the draft folder; returns the counts by split."""
    (draft / 'images').mkdir()
    (draft / 'annotations').mkdir()
    parameters, total = edition.parameters, edition.parameters['num_images']
    make = functools.partial(edition.make_picture, parameters=parameters, folder=draft / 'images')
    pictures = []
    with _mapper(num_workers, total) as map_in_order:
        for done, picture in enumerate(map_in_order(make, range(total)), start=1):
            pictures.append(picture)
            if done * 10 // total > (done - 1) * 10 // total:
                report(f'RefShapes: {done} of {total} images drawn ({100 * done // total} %)')
    instances, refs = number_records(pictures)
    found = count_records(refs)
    counts = {split: found[split] for split in dict.fromkeys(edition.splits) if split in found}
    write_refer_files(draft / 'annotations', 'unc', instances, refs)
    (draft / 'annotations' / 'manifest.json').write_text(
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
    pool = multiprocessing.get_context('spawn').Pool(num_workers, cv2.setNumThreads, (1,))
    with pool:
        yield functools.partial(pool.imap, chunksize=max(1, min(50, total // (4 * num_workers))))


def _publish(draft: Path, root: Path, edition: Edition) -> None:
    """Moves the pictures to their place and then, in one step, the annotations, which mark the set as finished."""
    images = _image_folder(root)
    images.mkdir(parents=True, exist_ok=True)
    for index in range(edition.parameters['num_images']):
        name = picture_name(index, edition.parameters)
        (draft / 'images' / name).replace(images / name)
    try:  # another process may have made the same set meanwhile
        (draft / 'annotations').rename(root / edition.dataset)
    except OSError:
        if not _is_made(root, edition):
            raise
