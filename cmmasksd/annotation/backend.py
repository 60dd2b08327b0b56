"""Answers Label Studio's tasks with a model."""

from __future__ import annotations

import hashlib
import io
import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from cmmasksd.annotation.labelling import Labelling, LabellingError, find_sentences, read_labelling
from cmmasksd.annotation.pictures import Pictures
from cmmasksd.annotation.regions import make_prediction
from cmmasksd.apis import EncodedPicture, ReferringInferencer
from cmmasksd.apis.pictures import check_picture

MOST_SENTENCES = 100  # of a task
MOST_KEPT = 2**29  # bytes of pictures and their features, for the next sentence
logger = logging.getLogger(__name__)


class Backend:
    """A model behind Label Studio: sentences in, brush masks out, one task at a time.

    Args:
        inferencer: the model.
        pictures: reads what tasks name.
        version: of the model; Label Studio asks anew for tasks whose predictions are of another.
        threshold: of the masks; None: the model's.
    """

    def __init__(
        self, inferencer: ReferringInferencer, pictures: Pictures, version: str, threshold: float | None = None
    ) -> None:
        self._inferencer, self._pictures = inferencer, pictures
        self.version, self._threshold = version, threshold
        self._seen: OrderedDict[str, EncodedPicture] = OrderedDict()
        self._lock = threading.Lock()

    def predict(self, tasks: Sequence[Any], config: Any, context: Any = None) -> list[Any]:
        """Predictions of tasks, as Label Studio takes them.

        Args:
            tasks: each with ``id`` and ``data``.
            config: the project's labelling config, XML.
            context: what an annotator has just typed; None: the tasks are to be labelled beforehand.

        Returns:
            For each task a prediction; or an empty list, which Label Studio keeps nothing of, where there is nothing to
            ask yet, or where it cannot be answered and others can: that is logged.

        Raises:
            LabellingError: a config that cannot be used, or no task that can be answered.
        """
        labelling = read_labelling(config)
        answers, problems = list[Any](), list[str]()
        for task in tasks:
            try:
                answers.append(self._answer(task, labelling, context))
            except LabellingError as error:
                problems.append(f'Task {task.get("id") if isinstance(task, Mapping) else task!r:.40}: {error}')
                answers.append([])
        if problems and len(problems) == len(tasks):
            raise LabellingError('\n'.join(problems))
        for problem in problems:
            logger.warning('%s', problem)
        return answers

    def _answer(self, task: Any, labelling: Labelling, context: Any) -> Any:
        if not isinstance(task, Mapping) or not isinstance(task.get('data'), Mapping):
            raise LabellingError('a task must have data')
        sentences = find_sentences(task, labelling, context)
        if len(sentences) > MOST_SENTENCES:
            raise LabellingError(f'{len(sentences)} sentences are too many: {MOST_SENTENCES} are answered at once')
        if not sentences:
            return [] if context is None else make_prediction([], labelling, self.version)
        name = task['data'].get(labelling.image_field)
        if not isinstance(name, str) or not name:
            raise LabellingError(f'its data has no picture in "{labelling.image_field}"')
        content = self._pictures.read(name, task.get('id'))
        with self._lock:
            try:
                result = self._inferencer.ask(self._see(content, name[:200]), sentences)
            except (ValueError, TypeError) as error:
                raise LabellingError(str(error)) from None
            if self._threshold is not None:
                result = result.at(self._threshold)
            scores = result.scores.tolist()
            return make_prediction(zip(sentences, scores, result.masks), labelling, self.version)

    def _see(self, content: bytes, name: str) -> EncodedPicture:
        """Shows the model a picture, or finds what it has kept of it."""
        digest = hashlib.sha256(content).hexdigest()
        seen = self._seen.pop(digest, None)
        if seen is None:
            check_picture(io.BytesIO(content), name)
            with Image.open(io.BytesIO(content)) as image:
                image.filename = name  # which messages tell
                seen = self._inferencer.encode(image)
        self._seen[digest] = seen
        while len(self._seen) > 1 and sum(each.nbytes for each in self._seen.values()) > MOST_KEPT:
            self._seen.popitem(last=False)
        return seen
