"""What annotators made in Label Studio becomes a table that ``cmmasksd convert`` takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from cmmasksd.annotation.annotations import Counts, read_masks
from cmmasksd.annotation.folders import Folders, possible_names
from cmmasksd.annotation.labelling import LabellingError
from cmmasksd.annotation.tasks import FILE_FIELD
from cmmasksd.datasets.refer.errors import ReferError
from cmmasksd.strict_json import to_json


def write_table(
    export: str | Path, out: str | Path, images: str | Path, report: Callable[[str], None] = lambda line: None
) -> Counts:
    """Writes a table (JSON lines: image, mask as COCO RLE, sentence) of an export in Label Studio's JSON format.

    Which masks are taken: :func:`~cmmasksd.annotation.annotations.read_masks`.

    Args:
        export: the file.
        out: the table.
        images: folder that holds the pictures.
        report: called with lines of text.

    Raises:
        LabellingError: another format, or what is wrong with tasks, all of them together; nothing is written then.
        OSError: files that cannot be read or written.
    """
    folders, counts = Folders([Path(images)]), Counts()
    taken, rows, problems = dict[Path, str](), list[str](), list[str]()
    for task in _read_export(Path(export)):
        try:
            made = [to_json(row) for row in _make_rows(task, folders, taken, counts)]
        except (LabellingError, ReferError) as error:
            problems.append(f'task {task.get("id")}: {error}')
            continue
        rows += made
        counts.tasks += bool(made)
    if problems:
        more = f'\n... and {len(problems) - 20} more' if len(problems) > 20 else ''
        raise LabellingError(
            f'{export}: tasks that cannot be used: {len(problems)}.\n' + '\n'.join(problems[:20]) + more
        )
    if not rows:
        raise LabellingError(f'{export} holds no mask: submit annotations in Label Studio first.')
    counts.rows = len(rows)
    Path(out).write_text('\n'.join(rows) + '\n', encoding='utf-8')
    _tell(counts, report)
    return counts


def _tell(counts: Counts, report: Callable[[str], None]) -> None:
    regions = ', '.join(f'{number} {how}' for how, number in counts.regions.items())
    report(f'Rows: {counts.rows}; tasks: {counts.tasks}; masks: {regions}.')
    if counts.unlabelled:
        report(f'Tasks without an annotation, or with skipped ones only: {counts.unlabelled}.')
    if counts.several:
        report(
            f'Tasks of which the ground truth, or else the newest of several annotations was taken: {counts.several}.'
        )
    if counts.other:
        kinds = ', '.join(f'{number} {kind}' for kind, number in counts.other.items())
        report(f'Left out, for they are no brush masks: {kinds}.')


def _read_export(path: Path) -> list[dict[str, Any]]:
    try:
        tasks = json.loads(path.read_text(encoding='utf-8'))
    except (ValueError, RecursionError) as error:
        raise LabellingError(f'{path} is no JSON ({error}): export as JSON in Label Studio.') from None
    is_list = isinstance(tasks, list) and all(isinstance(task, dict) for task in tasks)
    if not is_list or not all(isinstance(task.get('data'), dict) and 'annotations' in task for task in tasks):
        raise LabellingError(f'{path} is no list of tasks with annotations: export as JSON (not JSON-MIN or COCO).')
    return tasks


def _make_rows(
    task: dict[str, Any], folders: Folders, taken: dict[Path, str], counts: Counts
) -> Iterator[dict[str, Any]]:
    masks = read_masks(task, counts)
    image = _find_image(task['data'], folders, taken) if masks else ''
    for sentences, mask in masks.items():
        code = coco_mask.encode(np.asfortranarray(mask, np.uint8))
        segmentation = dict(size=list(mask.shape), counts=code['counts'].decode())
        split = {'split': task['data']['split']} if isinstance(task['data'].get('split'), str) else {}
        yield dict(image=image, mask=segmentation, sentence=list(sentences), **split)


def _find_image(data: Mapping[str, Any], folders: Folders, taken: dict[Path, str]) -> str:
    """The name of a task's picture; ``taken`` tells the address of each file that was found before."""
    addresses = [data.get(FILE_FIELD), data.get('image'), *data.values()]
    tried = dict[str, None]()
    for address in (each for each in addresses if isinstance(each, str)):
        names = [name for name in possible_names(address) if Path(name).suffix]
        for name in names:
            if (path := folders.find(name)) is not None:
                if taken.setdefault(path, address) != address:
                    raise LabellingError(
                        f'{address:.100} and {taken[path]:.100} both lead to {path}: keep files of one name apart, in '
                        'folders as Label Studio has them'
                    )
                return name.lstrip('/')
        tried.update(dict.fromkeys(names))
    raise LabellingError(f'there is no {" or ".join(tried)[:200] or "name of a file"} in {folders} (--images)')
