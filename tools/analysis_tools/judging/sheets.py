"""Contact sheets: the answers that are worst in some way, drawn."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from cmmasksd.evaluation.dense_crf import read_stored
from cmmasksd.scoring import Answer
from cmmasksd.visualization import draw_panel

from .judgements import Judgement

QUALITY = 85  # of the JPEGs


@dataclass(frozen=True)
class Picture:
    """A panel of a sheet.

    Attributes:
        judgement: of the answer that it shows.
        data: the panel as JPEG, in base64.
    """

    judgement: Judgement
    data: str


def worst(judgements: Sequence[Judgement], number: int, badness: Callable[[Judgement], float]) -> list[Judgement]:
    """The worst answers of different pictures, worst first and of those the largest object; none without badness."""
    chosen: dict[str, Judgement] = {}
    for each in sorted(judgements, key=lambda each: (-badness(each), -each.size, each.question.sent_id)):
        if len(chosen) == number or badness(each) <= 0:
            break
        chosen.setdefault(each.question.path, each)
    return list(chosen.values())


def draw(judgement: Judgement, answer: Answer) -> Picture:
    """Picture, prediction, ground truth, and what is hit, wrongly covered and missed.

    Raises:
        FileNotFoundError: the picture is not there.
    """
    image = read_stored(judgement.question.path)
    masks = (answer.prediction[None], answer.truth[None])
    panel = draw_panel(image, [judgement.sentence], *masks, errors=True)
    _, data = cv2.imencode('.jpg', cv2.cvtColor(panel, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return Picture(judgement, base64.b64encode(np.asarray(data).tobytes()).decode('ascii'))
