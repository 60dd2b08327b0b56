"""Predictions of a whole table as a data set of FiftyOne, to look through, sort and filter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cmmasksd.annotation.folders import Folders
from cmmasksd.annotation.labelling import LabellingError
from cmmasksd.annotation.predictions import read_predictions
from cmmasksd.apis.fifty_one import make_detections

if TYPE_CHECKING:
    from fiftyone import Dataset

FIELD = 'predictions'


def load_dataset(predictions: str | Path, images: str | Path, name: str | None = None, field: str = FIELD) -> Dataset:
    """Makes a FiftyOne data set: a sample a line, a detection with mask, sentence and score an expression.

    Args:
        predictions: what ``cmmasksd segment --table`` has written.
        images: folder that pictures are relative to.
        name: of the data set; None: FiftyOne chooses one.
        field: of each sample, that holds its detections.

    Raises:
        ImportError: FiftyOne is not installed.
        LabellingError: predictions that cannot be read, or a picture that is not there; no data set is left then.
    """
    try:
        import fiftyone
    except ImportError as error:
        raise ImportError("fiftyone is not installed: pip install 'cmmasksd[fiftyone]'.") from error
    folders = Folders([Path(images)])
    samples = []
    for answers in read_predictions(predictions):
        path = folders.find(answers.image)
        if path is None:
            raise LabellingError(f'{answers.place}: there is no picture {answers.image} in {folders}.')
        samples.append(fiftyone.Sample(filepath=str(path), **{field: make_detections(answers.found())}))
    dataset = fiftyone.Dataset(name)
    dataset.add_samples(samples, progress=False)
    return dataset
