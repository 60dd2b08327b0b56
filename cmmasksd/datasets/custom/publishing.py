"""Puts a finished set in its place, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cmmasksd.datasets.custom.sources import Picture
from cmmasksd.datasets.refer.files import Record, count_records, write_refer_files
from cmmasksd.datasets.refer.reader import read_annotations

IMAGE_FOLDER = Path('images', 'train2014')
_MANIFEST = 'manifest.json'
_MAKER = 'cmmasksd custom set'


def picture_names(dataset: str, pictures: Sequence[Picture]) -> dict[str, str]:
    """File names in the set by the pictures' digests, which are in them too: a name stands for one content, now and
    later.
    """
    return {picture.digest: f'{dataset}_{picture.stem}_{picture.digest[:12]}{picture.suffix}' for picture in pictures}


def check_place(folder: Path, force: bool) -> list[str]:
    """The picture names of the set that is in the place and may be replaced; raises FileExistsError where something is
    that may not.
    """
    if not folder.exists():
        return []
    try:
        manifest = json.loads((folder / _MANIFEST).read_text())
        ours, names = manifest['made_by'] == _MAKER, [str(Path(name).name) for name in manifest['pictures']]
    except (OSError, ValueError, KeyError, TypeError):
        ours, names = False, []
    if not ours:
        raise FileExistsError(
            f'{folder} is there and was not made from a table; choose another name (--dataset) or folder (--out)'
        )
    if not force:
        raise FileExistsError(
            f'{folder} is there already; choose another name (--dataset) or folder (--out), or replace it (--force)'
        )
    return names


def publish(
    root: Path,
    dataset: str,
    split_by: str,
    instances: Record,
    refs: list[Record],
    pictures: dict[str, Picture],
    link: bool,
    old_names: Sequence[str],
) -> dict[str, dict[str, int]]:
    """Writes everything into a draft folder, reads it as training will, and moves it to ``<root>/<dataset>`` and
    ``<root>/images/train2014``.

    Args:
        root: of the data, made if missing.
        dataset: name of the set's folder.
        split_by: the part of ``refs(<split_by>).p`` in brackets.
        instances: content of ``instances.json``.
        refs: the list of refs.
        pictures: by their names in the set.
        link: link to the pictures and do not copy them.
        old_names: pictures of the set that is replaced.

    Returns:
        Images, refs and sentences of each split.
    """
    root.mkdir(parents=True, exist_ok=True)
    counts = count_records(refs)
    with tempfile.TemporaryDirectory(prefix=f'.{dataset}-', dir=root) as name:
        draft = Path(name)
        (draft / dataset).mkdir()
        write_refer_files(draft / dataset, split_by, instances, refs)
        manifest = {'made_by': _MAKER, 'split_by': split_by, 'counts': counts, 'pictures': sorted(pictures)}
        (draft / dataset / _MANIFEST).write_text(json.dumps(manifest, indent=2) + '\n')
        read_annotations(draft / dataset, split_by)
        (draft / 'images').mkdir()
        for file_name, picture in pictures.items():
            _bring(picture.path, draft / 'images' / file_name, link)
        with _moved_pictures(draft / 'images', root / IMAGE_FOLDER):
            _swap(draft / dataset, root / dataset, draft / 'old')
    for file_name in set(old_names) - set(pictures):
        (root / IMAGE_FOLDER / file_name).unlink(missing_ok=True)
    return counts


def _bring(source: Path, target: Path, link: bool) -> None:
    if link:
        target.symlink_to(source.resolve())
    else:
        shutil.copyfile(source, target)


@contextmanager
def _moved_pictures(source: Path, target: Path) -> Iterator[None]:
    """Moves all pictures, and takes back those that were new where one cannot be moved or what is done inside fails."""
    target.mkdir(parents=True, exist_ok=True)
    new = []
    try:
        for path in source.iterdir():
            if not os.path.lexists(target / path.name):
                new.append(target / path.name)
            path.replace(target / path.name)
        yield
    except BaseException:
        for path in new:
            path.unlink(missing_ok=True)
        raise


def _swap(made: Path, place: Path, aside: Path) -> None:
    """Moves the finished folder to its place; what was there goes aside, and comes back where that fails."""
    if not place.exists():
        made.rename(place)
        return
    place.rename(aside)
    try:
        made.rename(place)
    except BaseException:
        aside.rename(place)
        raise
