"""What people take away."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from cmmasksd.apis import ReferringInferencer, ReferringResult
from cmmasksd.web.answers import Answers
from cmmasksd.web.asking import read_question
from cmmasksd.web.files import KEPT, Outbox, write_coco_rle, write_mask, write_report, write_zip
from cmmasksd.web.folders import segment_pictures
from tests.test_web.conftest import save_picture


@pytest.fixture
def result(inferencer: ReferringInferencer, picture: Path) -> ReferringResult:
    result = Answers(inferencer).answer(read_question(str(picture), 'red\nblue')).result
    return result.at(float(np.median(result.probabilities)))


def test_each_form_holds_the_masks(result: ReferringResult, tmp_path: Path) -> None:
    assert result.masks.any() and not result.masks.all()
    mask = write_mask(result, 'blue', tmp_path)
    assert mask.name == 'picture_2.png' and np.array_equal(
        np.asarray(Image.open(mask).convert('L')) == 255, result.masks[1]
    )
    runs = json.loads(write_coco_rle(result, tmp_path).read_text())
    assert np.array_equal(coco_mask.decode(runs).transpose(2, 0, 1), result.masks)
    report = json.loads(write_report(result, tmp_path).read_text())
    assert report == json.loads(json.dumps(result.to_dict())) and report['image'] == 'picture.png'
    with zipfile.ZipFile(write_zip(result, tmp_path)) as archive:
        assert sorted(archive.namelist()) == [
            'picture.json',
            'picture_1.png',
            'picture_2.png',
            'picture_coco_rle.json',
            'picture_panel.png',
        ]
        assert json.loads(archive.read('picture.json')) == report
        first = np.asarray(Image.open(io.BytesIO(archive.read('picture_1.png'))).convert('L'))
        assert np.array_equal(first == 255, result.masks[0])


def test_the_outbox_keeps_the_newest(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    folders = [outbox.make_folder() for _ in range(KEPT + 3)]
    assert [folder.exists() for folder in folders] == 3 * [False] + KEPT * [True]


def test_many_pictures_become_one_zip(inferencer: ReferringInferencer, tmp_path: Path) -> None:
    paths = []
    for folder in ('a', 'b'):
        (tmp_path / folder).mkdir()
        paths.append(str(save_picture(tmp_path / folder / 'same.png', seed=len(paths))))
    (tmp_path / 'notes.jpg').write_text('no picture')
    paths.insert(1, str(tmp_path / 'notes.jpg'))
    seen: list[tuple[int, int, str]] = []
    answers = Answers(inferencer)
    archive_path, problems = segment_pictures(answers, paths, 'red', 0.3, tmp_path, lambda *each: seen.append(each))
    assert seen == [(0, 3, 'same.png'), (1, 3, 'notes.jpg'), (2, 3, 'same.png')]
    assert len(problems) == 1 and 'notes.jpg is no picture' in problems[0]
    with zipfile.ZipFile(archive_path) as archive:
        assert {'same.json', 'same-2.json', 'same_1.png', 'same-2_1.png', 'problems.txt'} <= set(archive.namelist())
        assert json.loads(archive.read('same-2.json'))['threshold'] == 0.3
        assert archive.read('problems.txt').decode() == problems[0] + '\n'
    assert answers.nbytes == 0


@pytest.mark.parametrize(
    ('count', 'text', 'message'),
    [
        (0, 'red', 'no pictures yet'),
        (1, '', 'no sentence yet'),
        (1, 'red', 'None of the 1'),
        (501, 'red', 'at most 500'),
    ],
)
def test_many_pictures_that_cannot_be(
    inferencer: ReferringInferencer, tmp_path: Path, count: int, text: str, message: str
) -> None:
    path = tmp_path / 'notes.png'
    path.write_text('no picture')
    with pytest.raises(ValueError, match=message):
        segment_pictures(Answers(inferencer), count * [str(path)], text, 0.3, tmp_path, lambda *each: None)
