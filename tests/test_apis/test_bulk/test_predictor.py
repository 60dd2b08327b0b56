"""The callable class, as Ray calls it and by Ray itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cmmasksd.apis.bulk import ReferringPredictor
from tests.untrained import SENTENCES, make_pictures


@pytest.fixture(scope='module')
def predictor(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> ReferringPredictor:
    folder = tmp_path_factory.mktemp('pictures')
    make_pictures(folder, 2)
    return ReferringPredictor(checkpoint, images=folder, device='cpu', batch_size=2)


def test_columns_go_in_and_come_out(predictor: ReferringPredictor) -> None:
    sentences = np.empty(4, object)
    sentences[:] = [np.array(SENTENCES, object), ['a'], 'b', ['']]
    batch = dict(
        image=np.array(['p0.png', 'p1.png', 'none.png', 'p1.png'], object), sentences=sentences, id=np.arange(4)
    )
    answers = predictor(batch)
    assert list(answers['id']) == [0, 1, 2, 3] and set(answers) == {*batch, 'result', 'error'}
    first, second = (json.loads(text) for text in answers['result'][:2])
    assert [each['expression'] for each in first['objects']] == SENTENCES
    assert second['image'] == 'p1.png' and second['size'] == [20, 30]
    assert list(answers['result'][2:]) == ['', ''] and list(answers['error'][:2]) == ['', '']
    assert 'no such picture' in answers['error'][2] and 'its sentence is empty' in answers['error'][3]


def test_pixels_instead_of_files(predictor: ReferringPredictor) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 9, 3), np.uint8)
    answers = predictor(dict(image=pixels, sentence=np.array(['a', 'b'])))
    assert [json.loads(text)['size'] for text in answers['result']] == [[8, 9], [8, 9]]


@pytest.mark.slow
def test_ray_takes_it(checkpoint: Path, tmp_path: Path) -> None:
    ray = pytest.importorskip('ray')
    rows = [dict(image=name, sentences=SENTENCES) for name in (*make_pictures(tmp_path, 3), 'none.png')]
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        options = dict(images=str(tmp_path), device='cpu')
        answers = ray.data.from_items(rows).map_batches(
            ReferringPredictor,
            fn_constructor_args=(str(checkpoint),),
            fn_constructor_kwargs=options,
            concurrency=1,
            batch_size=2,
        )
        answers = sorted(answers.take_all(), key=lambda row: row['image'])
    finally:
        ray.shutdown()
    assert [row['image'] for row in answers] == ['none.png', 'p0.png', 'p1.png', 'p2.png']
    assert 'no such picture' in answers[0]['error']
    assert all(len(json.loads(row['result'])['objects']) == 2 for row in answers[1:])
