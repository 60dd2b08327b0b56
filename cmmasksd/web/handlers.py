"""What the page's buttons do."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from cmmasksd.apis import ReferringResult
from cmmasksd.web.answers import Answer, Answers
from cmmasksd.web.asking import Question, read_question
from cmmasksd.web.drawing import Drawing, draw_correlation, draw_masks
from cmmasksd.web.examples import Example
from cmmasksd.web.files import Outbox, write_coco_rle, write_mask, write_report, write_zip
from cmmasksd.web.folders import segment_pictures

NOTHING_ASKED = 'Nothing was asked yet: give a picture and a sentence, and press Segment.'


class Handlers:
    """The page's functions; what somebody asked last is a Question that the browser's session holds.

    Args:
        answers: the model.
        outbox: where files for people are written.
        examples: pictures to begin with.
    """

    def __init__(self, answers: Answers, outbox: Outbox, examples: Sequence[Example]) -> None:
        self.answers = answers
        self.outbox = outbox
        self.examples = examples

    def ask(self, picture: str | None, text: str, threshold: float) -> tuple[Any, ...]:
        """-> question, masks, sentences to choose from, correlation, hint, results."""
        with _told():
            question = read_question(picture, text)
            answer = self.answers.answer(question)
            first = question.sentences[0]
            return (
                question,
                _annotated(draw_masks(answer, threshold)),
                gr.Dropdown(choices=list(question.sentences), value=first),
                draw_correlation(answer, first),
                gr.HTML(visible=False),
                gr.Column(visible=True),
            )

    def rethreshold(self, question: Question | None, threshold: float) -> Any:
        """-> masks at another threshold; the model is not asked."""
        if question is None:  # the slider may be moved before anything is asked
            return gr.skip()
        with _told():
            return _annotated(draw_masks(self.answers.answer(question), threshold))

    def correlate(self, question: Question | None, sentence: str | None) -> np.ndarray:
        """-> the correlation of another sentence."""
        with _told():
            answer, sentence = self._find(question, sentence)
            return draw_correlation(answer, sentence)

    def reset(self) -> tuple[Any, ...]:
        """-> no question, the hint in place of the results: another picture was chosen."""
        return None, gr.HTML(visible=True), gr.Column(visible=False)

    def take_example(self, event: gr.SelectData) -> tuple[str, str]:
        """-> picture and sentences of an example."""
        example = self.examples[event.index]
        return example.path, example.sentences

    def save_mask(self, question: Question | None, threshold: float, sentence: str | None) -> str:
        """-> the chosen sentence's mask as PNG."""
        with _told():
            answer, sentence = self._find(question, sentence)
            return str(write_mask(answer.result.at(threshold), sentence, self.outbox.make_folder()))

    def save_coco_rle(self, question: Question | None, threshold: float) -> str:
        """-> all masks as COCO RLE."""
        return self._save(write_coco_rle, question, threshold)

    def save_report(self, question: Question | None, threshold: float) -> str:
        """-> all that is known, as JSON."""
        return self._save(write_report, question, threshold)

    def save_all(self, question: Question | None, threshold: float) -> str:
        """-> everything in one zip."""
        return self._save(write_zip, question, threshold)

    def segment_pictures(
        self,
        paths: list[str] | None,
        text: str,
        threshold: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio finds it by its default
    ) -> str:
        """-> a zip of the answers about several pictures."""

        def report(done: int, total: int, name: str) -> None:
            progress((done, total), desc=name, unit='pictures')

        with _told():
            path, problems = segment_pictures(self.answers, paths, text, threshold, self.outbox.make_folder(), report)
        if problems:
            first = html.escape(problems[0], quote=False)
            gr.Warning(f'{len(problems)} of {len(paths or ())} were left out; problems.txt tells why. {first}')
        return str(path)

    def _find(self, question: Question | None, sentence: str | None) -> tuple[Answer, str]:
        if question is None:
            raise ValueError(NOTHING_ASKED)
        if sentence not in question.sentences:
            raise ValueError('Choose one of the sentences that were asked.')
        return self.answers.answer(question), sentence

    def _save(self, write: Callable[[ReferringResult, Path], Path], question: Question | None, threshold: float) -> str:
        with _told():
            if question is None:
                raise ValueError(NOTHING_ASKED)
            return str(write(self.answers.answer(question).result.at(threshold), self.outbox.make_folder()))


def _annotated(drawing: Drawing) -> gr.AnnotatedImage:
    return gr.AnnotatedImage(value=(drawing.picture, drawing.annotations), color_map=drawing.colors)


@contextmanager
def _told() -> Iterator[None]:
    """What somebody did wrong is said on the page, in our words; names of files are text there, not HTML."""
    try:
        yield
    except (ValueError, TypeError, OSError) as error:
        message = html.escape(str(error), quote=False)
        raise gr.Error(message, print_exception=False) from error
