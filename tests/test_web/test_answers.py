"""Pictures are encoded once and sentences answered once, within bounds."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cmmasksd.apis import ReferringInferencer
from cmmasksd.web.answers import Answers
from cmmasksd.web.asking import read_question
from tests.test_web.conftest import save_picture


@pytest.fixture
def calls(inferencer: ReferringInferencer, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often pictures were encoded, and each sentence asked."""
    counts: Counter[str] = Counter()
    encode, ask = inferencer.encode, inferencer.ask
    monkeypatch.setattr(inferencer, 'encode', lambda image: counts.update(['encode']) or encode(image))
    monkeypatch.setattr(inferencer, 'ask', lambda picture, texts: counts.update(texts) or ask(picture, texts))
    return counts


def test_answers_are_those_of_the_inferencer(inferencer: ReferringInferencer, picture: Path) -> None:
    answers, asked = Answers(inferencer), ['red', 'the blue one', 'left']
    answers.answer(read_question(str(picture), 'left'))
    answer = answers.answer(read_question(str(picture), '\n'.join(asked)))
    (expected,) = inferencer(str(picture), asked)
    assert answer.result.expressions == asked and answer.result.name == 'picture.png'
    assert np.allclose(answer.result.probabilities, expected.probabilities, atol=1e-5)
    assert np.allclose(answer.correlations, inferencer.correlate(inferencer.encode(str(picture)), asked), atol=1e-4)
    assert answer.preview.masks.shape == expected.masks.shape


def test_nothing_is_done_twice(inferencer: ReferringInferencer, picture: Path, calls: Counter[str]) -> None:
    answers = Answers(inferencer)
    for text in ('red\nblue', 'red\ngreen', 'green\nred'):
        answers.answer(read_question(str(picture), text)).result.at(0.5).masks  # noqa: B018
    assert calls == {'encode': 1, 'red': 1, 'blue': 1, 'green': 1}


def test_the_least_recently_asked_of_goes_first(
    inferencer: ReferringInferencer, tmp_path: Path, calls: Counter[str]
) -> None:
    questions = [read_question(str(save_picture(tmp_path / f'{seed}.png', seed)), 'red') for seed in range(3)]
    answers = Answers(inferencer)
    answers.answer(questions[0])
    answers.most_bytes = int(2.5 * answers.nbytes)
    for index in (1, 0, 2, 0, 1):
        answers.answer(questions[index])
        assert 0 < answers.nbytes <= answers.most_bytes
    assert calls['encode'] == 4
    answers.most_bytes = 1
    assert answers.answer(questions[0]).result.masks.shape == (1, 60, 80)
    assert answers.nbytes == 0


def test_answers_count_as_what_is_kept(inferencer: ReferringInferencer, tmp_path: Path) -> None:
    path = str(save_picture(tmp_path / 'picture.png', 0))
    answers, sizes = Answers(inferencer), []
    for sentences in ('red', 'red\nblue', 'red\nblue\ngreen', 'red'):
        answers.answer(read_question(path, sentences))
        sizes.append(answers.nbytes)
    one = sizes[1] - sizes[0]
    assert one >= inferencer(path, 'red')[0].maps.nbytes and sizes[2] - sizes[1] == one
    assert sizes[3] == sizes[2]  # a sentence answered before stays


def test_two_at_once_never_mix(inferencer: ReferringInferencer, tmp_path: Path) -> None:
    answers = Answers(inferencer)
    questions = [read_question(str(save_picture(tmp_path / f'{seed}.png', seed)), 'red\nblue') for seed in range(4)]
    expected = [inferencer(question.path, list(question.sentences))[0].probabilities for question in questions]
    found: dict[int, np.ndarray] = {}

    def ask(index: int) -> None:
        for _ in range(3):
            found[index] = answers.answer(questions[index]).result.probabilities

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.allclose(found[index], expected[index], atol=1e-5) for index in range(4))


def test_a_large_picture_is_shown_small(inferencer: ReferringInferencer, tmp_path: Path) -> None:
    path = save_picture(tmp_path / 'large.png', seed=1, size=(600, 1536))
    answer = Answers(inferencer).answer(read_question(str(path), 'red'))
    assert answer.preview.masks.shape == (1, 400, 1024) and answer.result.masks.shape == (1, 600, 1536)
    assert abs(answer.preview.masks.mean() - answer.result.masks.mean()) < 0.01


def test_files_that_are_gone_or_cut_are_told_by_name(
    inferencer: ReferringInferencer, tmp_path: Path, picture: Path
) -> None:
    cut = tmp_path / 'cut.png'
    cut.write_bytes(picture.read_bytes()[:-200])
    gone = read_question(str(picture), 'red')
    picture.unlink()
    for question, message in ((gone, 'no longer kept here'), (read_question(str(cut), 'red'), 'truncated')):
        with pytest.raises(ValueError, match=f'{question.name}.*{message}') as told:
            Answers(inferencer).answer(question)
        assert str(tmp_path) not in str(told.value)
