"""Predictions in files against sets on disk, by each protocol."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from cmmasksd.cli.doors import main
from cmmasksd.datasets.refshapes import make_refshapes
from cmmasksd.scoring import PROTOCOLS, PredictionError, Question, read_predictions, read_questions
from cmmasksd.scoring.predictions import match

RNG = np.random.default_rng(0)


def rle(mask: np.ndarray) -> dict[str, Any]:
    code = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return dict(size=list(mask.shape), counts=code['counts'].decode())


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('data')
    make_refshapes(folder, num_images=20, seed=1, image_sizes=[(64, 96)])
    return folder


@pytest.fixture(scope='module')
def questions(root: Path) -> list[Question]:
    return read_questions(str(root), 'refshapes', 'unc', 'train')


def noisy(question: Question) -> np.ndarray:
    return question.mask() ^ (np.random.default_rng(question.sent_id).random(question.size) < 0.1)


def write(file: Path, lines: list[dict[str, Any]]) -> Path:
    file.write_text('\n'.join(map(json.dumps, lines)) + '\n')
    return file


def run(root: Path, *arguments: object) -> dict[str, Any]:
    out = root / 'scores.json'
    given = ['--data-root', root, '--dataset', 'refshapes', '--split', 'train', '--out', out]
    main(['evaluate', *map(str, [*arguments, *given])])
    return json.loads(out.read_text())['scores']


def test_the_scores_are_those_of_peers_formulas(root: Path, questions: list[Question], tmp_path: Path) -> None:
    lines = [dict(sent_id=each.sent_id, segmentation=rle(noisy(each))) for each in questions]
    file = write(tmp_path / 'a.jsonl', lines)
    pairs = []
    for each in questions:
        small = [np.asarray(Image.fromarray(m).resize((480, 480), Image.NEAREST)) for m in (noisy(each), each.mask())]
        for prediction, truth in ((noisy(each), each.mask()), small):
            pairs.append([(prediction & truth).sum(), (prediction | truth).sum()])
    own, at_480 = np.array(pairs[::2], float).T, np.array(pairs[1::2], float).T
    cris = run(root, file, '--protocol', 'cris')[str(file)]
    ious = own[0] / (own[1] + 1e-6)
    assert cris['mIoU'] == pytest.approx(100 * ious.mean()) and 10 < cris['mIoU'] < 90
    assert cris['Pr@0.5'] == pytest.approx(100 * (ious > 0.5).mean())
    lavt = run(root, file, '--protocol', 'lavt')[str(file)]
    assert lavt['mIoU'] == pytest.approx(100 * (at_480[0] / at_480[1]).mean())
    assert lavt['oIoU'] == pytest.approx(100 * at_480[0].sum() / at_480[1].sum())
    exact = run(root, file, '--protocol', 'exact')[str(file)]
    assert exact['num_expressions'] == len(questions) > 20 and exact['mIoU'] == pytest.approx(cris['mIoU'])


@pytest.mark.parametrize(('name', 'above'), [('exact', 0), ('cris', 100), ('lavt', 100)])
def test_an_iou_of_exactly_seven_tenths(name: str, above: float) -> None:
    counts = np.array([[7000, 10000, 8000, 9000]])
    assert PROTOCOLS[name].compute(counts)['Pr@0.7'] == above


def test_no_target_is_answered_by_silence() -> None:
    counts = np.array([[0, 0, 0, 0], [0, 5, 5, 0], [0, 8, 0, 8], [8, 10, 9, 9]])  # right, wrong, missed, found
    scores = PROTOCOLS['grefcoco'].compute(counts)
    assert scores['gIoU'] == pytest.approx(100 * (1 + 0 + 0 + 0.8) / 4)
    assert scores['cIoU'] == pytest.approx(100 * 8 / 23)
    assert (scores['N_acc'], scores['T_acc'], scores['Pr@0.7'], scores['Pr@0.9']) == (50, 50, 50, 0)


def test_grefcoco_is_read(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / 'grefcoco'
    folder.mkdir()
    square = [1, 1, 5, 1, 5, 5, 1, 5]
    annotations = [
        dict(id=number, image_id=1, segmentation=[[x + 10 * number if i % 2 == 0 else x for i, x in enumerate(square)]])
        for number in (1, 2)
    ]
    images = [dict(id=1, file_name='a.jpg', height=20, width=40)]
    (folder / 'instances.json').write_text(json.dumps(dict(images=images, annotations=annotations)))
    refs = [
        dict(ref_id=number, image_id=1, split='val', ann_id=ids, sentences=[dict(sent_id=number, sent='x', raw='X')])
        for number, ids in enumerate([[1], [1, 2], [-1]])
    ]
    (folder / 'grefs(unc).json').write_text(json.dumps(refs))
    found = read_questions(str(tmp_path), 'grefcoco', 'unc', 'val')
    assert [int(question.mask().sum()) for question in found] == [16, 32, 0]
    with pytest.raises(ValueError, match="no split 'test'; use one of: val"):
        read_questions(str(tmp_path), 'grefcoco', 'unc', 'test')


def test_bulk_answers_are_matched_by_picture_and_sentence(questions: list[Question], tmp_path: Path) -> None:
    by_image: dict[str, list[dict[str, Any]]] = {}
    for each in questions:
        by_image.setdefault(each.image, []).append(dict(expression=each.texts[0], segmentation=rle(each.mask())))
    lines = [dict(row=1, image=f'pictures/{image}', objects=objects) for image, objects in by_image.items()]
    seen = {(each.image, each.texts[0]) for each in questions}
    assert len(seen) == len(questions)
    found, others = match(read_predictions(write(tmp_path / 'bulk.jsonl', lines)), questions)
    assert len(found) == len(questions) and not others
    assert all(np.array_equal(found[each.sent_id].mask(each.size), each.mask()) for each in questions)


def test_polygons_and_empty_masks(tmp_path: Path) -> None:
    lines = [
        dict(sent_id=1, segmentation=[[1, 1, 5, 1, 5, 5, 1, 5]]),
        dict(sent_id=2, segmentation=rle(np.zeros((9, 9)))),
    ]
    polygon, empty = read_predictions(write(tmp_path / 'a.jsonl', lines))
    assert polygon.mask((9, 9)).sum() == 16 and empty.mask((9, 9)).sum() == 0
    with pytest.raises(PredictionError, match='line 2'):
        empty.mask((8, 8))


@pytest.mark.parametrize(
    ('lines', 'message'),
    [
        (['{'], 'line 1 is not JSON'),
        (['[]'], 'line 1 is no object'),
        (['{"sent_id": 1}'], 'line 1 does not say'),
        (['{"image": "a.jpg", "objects": [{}]}'], '"expression" and "segmentation"'),
    ],
)
def test_lines_that_cannot_be_read_are_named(lines: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / 'a.jsonl').write_text('\n'.join(lines))
    with pytest.raises(PredictionError, match=message):
        list(read_predictions(tmp_path / 'a.jsonl'))


def test_missing_and_double_predictions(
    root: Path, questions: list[Question], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    first = dict(sent_id=questions[0].sent_id, segmentation=rle(questions[0].mask()))
    file = write(tmp_path / 'a.jsonl', [first, dict(sent_id=10**9, segmentation=first['segmentation'])])
    with pytest.raises(SystemExit):
        run(root, file, '--protocol', 'exact')
    told = capsys.readouterr().err
    assert f'{len(questions) - 1} of {len(questions)} expressions have no prediction' in told
    assert '1 predictions answer no sentence' in told
    scores = run(root, file, '--protocol', 'exact', '--missing', 'wrong')[str(file)]
    assert scores['mIoU'] == pytest.approx(100 / len(questions))
    with pytest.raises(SystemExit):
        run(root, write(tmp_path / 'b.jsonl', [first, first]), '--protocol', 'exact')
    assert 'line 2 answers sentence' in capsys.readouterr().err
