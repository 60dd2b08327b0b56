"""Predictions of a whole table become tasks of Label Studio that are labelled already."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import quote

from cmmasksd.annotation.folders import LOCAL_FILES
from cmmasksd.annotation.labelling import LABELS_FIELD, SHIPPED, Labelling, read_labelling
from cmmasksd.annotation.predictions import PictureAnswers, read_predictions
from cmmasksd.annotation.regions import make_prediction
from cmmasksd.strict_json import to_json

LOCAL_PREFIX = f'{LOCAL_FILES}/?d='
# of labels, in turn; told apart by people who are colour-blind too (Okabe and Ito's palette)
COLORS = ('#0072B2', '#E69F00', '#009E73', '#CC79A7', '#56B4E9', '#D55E00', '#F0E442')
FILE_FIELD = 'file'  # the picture's name in the table; exports repeat it


class Written(NamedTuple):
    """What was written.

    Attributes:
        tasks: pictures.
        sentences: of all of them.
        masks: sentences for which the model found something.
    """

    tasks: int
    sentences: int
    masks: int


def write_tasks(
    predictions: str | Path,
    out_dir: str | Path,
    prefix: str = LOCAL_PREFIX,
    version: str | None = None,
    style: str = 'labels',
) -> Written:
    """Writes ``tasks.json``, for Label Studio's import, and ``labelling.xml``, the config that shows them.

    Args:
        predictions: what ``cmmasksd segment --table`` has written.
        out_dir: made where it is not there.
        prefix: of pictures' addresses, followed by their quoted names; by default that of Label Studio's local storage.
        version: the model's, shown with each prediction; None: the file's name.
        style: which of the shipped configs.

    Raises:
        LabellingError: predictions that cannot be read.
        OSError: files that cannot be read or written.
    """
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    labelling, version = read_labelling(SHIPPED[style]), version or Path(predictions).stem
    counts = [0, 0, 0]
    part = folder / 'tasks.json.part'  # what cannot be written to its end is no tasks.json
    with part.open('w', encoding='utf-8') as file:
        tasks = (_make_task(answers, prefix, labelling, version) for answers in read_predictions(predictions))
        for sentences, masks in _write_array(file, tasks):
            counts = [counts[0] + 1, counts[1] + sentences, counts[2] + masks]
    part.replace(folder / 'tasks.json')
    (folder / 'labelling.xml').write_text(SHIPPED[style], encoding='utf-8')
    return Written(*counts)


def _make_task(answers: PictureAnswers, prefix: str, labelling: Labelling, version: str) -> dict[str, Any]:
    sentences = list(dict.fromkeys(each['expression'] for each in answers.objects))
    data = {
        labelling.image_field: prefix + quote(answers.image),
        FILE_FIELD: answers.image,
        LABELS_FIELD: _make_labels(sentences) if labelling.labels_field else sentences,
    }
    return dict(data=data, predictions=[make_prediction(answers.found(), labelling, version)])


def _make_labels(sentences: list[str]) -> list[dict[str, str]]:
    return [dict(value=text, background=COLORS[number % len(COLORS)]) for number, text in enumerate(sentences)]


def _write_array(file: IO[str], tasks: Iterator[dict[str, Any]]) -> Iterator[tuple[int, int]]:
    """Writes tasks as one JSON array, holding one of them; gives sentences and masks of each."""
    separator = '[\n'
    for task in tasks:
        file.write(separator + to_json(task))
        separator = ',\n'
        regions = task['predictions'][0]['result']
        yield len(task['data'][LABELS_FIELD]), sum(region['type'] == 'brushlabels' for region in regions)
    file.write('[]\n' if separator == '[\n' else '\n]\n')
