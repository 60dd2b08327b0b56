"""The report on a run's mistakes: what it counts, and the page as a file."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from cmmasksd.datasets.refshapes import make_refshapes
from cmmasksd.scoring import Answer, Question, read_questions
from tests.test_tools.running import ROOT, environment

TOOL = 'tools/analysis_tools/error_analysis.py'


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / 'tools/analysis_tools'))


def answer(text: str, prediction: slice, truth: slice, size: int = 100) -> Answer:
    """Masks are runs of columns of a strip of 1 x ``size`` pixels."""
    masks = []
    for part in (prediction, truth):
        mask = np.zeros((1, size), bool)
        mask[0, part] = True
        masks.append(mask)
    return Answer(Question(1, 1, 'a.jpg', 'a.jpg', (text, text), (1, size), (), True), *masks)


@pytest.mark.parametrize(
    ('prediction', 'truth', 'shares', 'verdict'),
    [
        (slice(0, 30), slice(0, 40), (0.75, 0.0, 0.25), 'right'),
        (slice(0, 20), slice(10, 30), (1 / 3, 1 / 3, 1 / 3), 'partly'),
        (slice(0, 10), slice(9, 29), (1 / 29, 9 / 29, 19 / 29), 'elsewhere'),
        (slice(0, 0), slice(0, 5), (0.0, 0.0, 1.0), 'nothing'),
        (slice(0, 0), slice(0, 0), (1.0, 0.0, 0.0), 'right'),
        (slice(0, 20), slice(0, 40), (0.5, 0.0, 0.5), 'partly'),
    ],
)
def test_a_judgement(prediction: slice, truth: slice, shares: tuple[float, ...], verdict: str) -> None:
    from judging.judgements import judge

    (found,) = judge([answer('left zebra', prediction, truth)])
    assert (found.iou, found.over, found.under) == pytest.approx(shares)
    assert found.verdict == verdict
    assert found.size == (truth.stop - truth.start) / 100


def test_groups_hold_what_belongs_to_them() -> None:
    from judging.grouping import by_length, by_size, by_words, histogram
    from judging.judgements import judge

    judgements = judge(
        [
            answer('zebra', slice(0, 1), slice(0, 1), 200),
            answer('left zebra', slice(0, 10), slice(0, 20)),
            answer('the red one next to the left zebra over there', slice(0, 30), slice(0, 60)),
        ]
    )
    assert [(each.name, each.count, each.miou) for each in by_length(judgements)] == [
        ('1 word', 1, 100.0),
        ('2 words', 1, 50.0),
        ('more than 8 words', 1, 50.0),
    ]
    assert [each.name for each in by_size(judgements)] == ['below 1 %', '16 % and more']
    kinds = {each.name: each.count for each in by_words(judgements)}
    assert kinds == {'place in the picture': 2, 'order': 1, 'relation': 1, 'colour': 1, 'none of these': 1}
    counts = histogram(judgements, bins=4)
    assert counts == [0, 0, 2, 1]


def test_the_worst_are_of_different_pictures() -> None:
    from judging.judgements import judge
    from judging.sheets import worst

    judged = judge([answer('a', slice(0, end), slice(0, 40)) for end in (40, 10, 20)])
    chosen = worst(judged, 5, lambda each: 1 - each.iou)
    assert [each.iou for each in chosen] == [0.25]
    assert worst(judged[:1], 5, lambda each: 1 - each.iou) == []


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('data')
    make_refshapes(folder, num_images=20, seed=1, image_sizes=[(64, 96)])
    return folder


def write(root: Path, file: Path, shift: int) -> int:
    """Predictions of the training split, moved to the right; gives their number."""
    lines: list[dict[str, Any]] = []
    for each in read_questions(str(root), 'refshapes', 'unc', 'train'):
        code = coco_mask.encode(np.asfortranarray(np.roll(each.mask(), shift, axis=1), np.uint8))
        rle = dict(size=list(each.size), counts=code['counts'].decode())
        lines.append(dict(sent_id=each.sent_id, segmentation=rle))
    file.write_text('\n'.join(map(json.dumps, lines)))
    return len(lines)


def run(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, TOOL, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120)


def test_the_page_stands_alone(root: Path, tmp_path: Path) -> None:
    count = write(root, tmp_path / 'a.jsonl', shift=4)
    given = ['--data-root', root, '--dataset', 'refshapes', '--split', 'train']
    done = run(tmp_path / 'a.jsonl', *given, '--out', tmp_path / 'a.html', '--number', 3)
    assert done.returncode == 0, done.stderr
    assert 'over-segmentation' in done.stdout
    page = (tmp_path / 'a.html').read_text()
    assert f'{count} expressions of refshapes (unc) train' in page
    assert page.count('data:image/jpeg;base64,') == 9
    assert not re.findall(r'(?:src|href)="(?!data:)', page) and 'http' not in page and '<script' not in page
    bars = [int(number) for number in re.findall(r'<title>IoU [^:]*: (\d+)</title>', page)]
    assert len(bars) == 20 and sum(bars) == count > 0


def test_perfect_answers_have_no_worst(root: Path, tmp_path: Path) -> None:
    write(root, tmp_path / 'a.jsonl', shift=0)
    given = ['--data-root', root, '--dataset', 'refshapes', '--split', 'train']
    done = run(tmp_path / 'a.jsonl', *given, '--out', tmp_path / 'a.html')
    assert done.returncode == 0, done.stderr
    page = (tmp_path / 'a.html').read_text()
    assert 'data:image' not in page and page.count('<p>None.</p>') == 3


def test_what_cannot_be_read_is_said(root: Path, tmp_path: Path) -> None:
    (tmp_path / 'a.jsonl').write_text('{}')
    given = ['--data-root', root, '--dataset', 'refshapes', '--split', 'train', '--out', tmp_path / 'a.html']
    done = run(tmp_path / 'a.jsonl', *given)
    assert done.returncode == 1 and 'Error: ' in done.stderr and 'line 1' in done.stderr
