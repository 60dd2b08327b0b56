"""The same as a callable class on batches of rows, such as Ray Data's ``map_batches`` takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config

from cmmasksd.apis.bulk.answering import THREADS, Failure, Request, answer
from cmmasksd.apis.opening import open_inferencer
from cmmasksd.datasets.custom.records import read_sentences
from cmmasksd.datasets.refer.errors import ReferError
from cmmasksd.strict_json import to_json

Columns = Mapping[str, Sequence[Any] | np.ndarray]


class ReferringPredictor:
    """Segments batches of rows; the model is built once, where the object is.

    >>> table = ray.data.read_json('table.jsonl', lines=True)
    >>> table.map_batches(ReferringPredictor, fn_constructor_args=('best.pth',), concurrency=2, batch_size=16)

    Args:
        weights: a checkpoint of a run, or a published folder; see :func:`~cmmasksd.apis.opening.open_inferencer`.
        config: as for that function.
        images: folder that pictures are relative to.
        device: where to run; by default an accelerator if there is one.
        batch_size: pictures that are encoded together.
        threshold: of the masks; None: the model's.
        precision, cache_bytes: see :class:`~cmmasksd.apis.inferencer.ReferringInferencer`.

    Raises:
        FileNotFoundError, ValueError: as that function.
    """

    def __init__(
        self,
        weights: str | Path,
        config: str | Path | Config | None = None,
        images: str | Path = '.',
        device: str | torch.device | None = None,
        batch_size: int = 1,
        threshold: float | None = None,
        precision: str | None = None,
        cache_bytes: int = 0,
    ) -> None:
        self._inferencer = open_inferencer(weights, config, device, precision, cache_bytes)
        self._images, self._batch_size, self._threshold = Path(images), batch_size, threshold

    def __call__(self, batch: Columns) -> dict[str, Any]:
        """Answers rows.

        Args:
            batch: equally long columns, among them ``image``, names of files or (height, width, 3) uint8 RGB arrays,
                and ``sentences`` (or ``sentence``), of each row one or a list.

        Returns:
            The columns, with ``result``, the JSON text of
            :meth:`~cmmasksd.apis.results.ReferringResult.to_dict`, and ``error``; one of both is empty.
        """
        number = len(batch['image'])
        records = [{name: _plain(column[row]) for name, column in batch.items()} for row in range(number)]
        requests = (self._to_request(row, record) for row, record in enumerate(records))
        answers = answer(self._inferencer, requests, self._batch_size, THREADS, self._threshold)
        results, errors = [], []
        for each in answers:
            result, error = ('', each.reason) if isinstance(each, Failure) else (to_json(each[1].to_dict()), '')
            results.append(result)
            errors.append(error)
        return {**batch, 'result': np.array(results, object), 'error': np.array(errors, object)}

    def _to_request(self, row: int, record: dict[str, Any]) -> Request | Failure:
        image = record['image']
        name = image if isinstance(image, str) else ''
        try:
            if not name and not isinstance(image, np.ndarray):
                raise ReferError(f'its image is {image!r:.40}, but must be the name of a file or an array of pixels')
            return Request(row, name, str(self._images / name) if name else image, read_sentences(record))
        except ReferError as error:
            return Failure(row, name, str(error))


def _plain(value: Any) -> Any:
    """A cell as Python has it: a list of texts may come as an array."""
    is_texts = isinstance(value, np.ndarray) and value.dtype.kind in 'OUT'
    return value.tolist() if is_texts or isinstance(value, np.generic) else value
