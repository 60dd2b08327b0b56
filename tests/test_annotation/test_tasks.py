"""Predictions of a table as Label Studio's tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from cmmasksd.annotation.brush import decode_brush
from cmmasksd.annotation.labelling import LabellingError, find_sentences, read_labelling
from cmmasksd.annotation.tasks import write_tasks

SIZE = (20, 30)


def rle_of(mask: np.ndarray) -> dict[str, Any]:
    code = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return dict(size=list(mask.shape), counts=code['counts'].decode())


def write_predictions(path: Path, masks: dict[str, dict[str, np.ndarray]]) -> Path:
    """Lines as ``cmmasksd segment --table`` writes, of masks by sentence by picture."""
    lines = []
    for row, (image, own) in enumerate(masks.items(), start=1):
        objects = [dict(expression=text, score=0.5, segmentation=rle_of(mask)) for text, mask in own.items()]
        size = list(next(iter(own.values())).shape)
        lines.append(json.dumps(dict(row=row, image=image, size=size, threshold=0.35, objects=objects)))
    path.write_text('\n'.join(lines) + '\n\n')
    return path


@pytest.fixture
def masks() -> dict[str, dict[str, np.ndarray]]:
    left = np.zeros(SIZE, bool)
    left[5:15, 3:9] = True
    return {'a b/ü 1.png': {'left zebra': left, 'the tree': ~left}, 'c.png': {'nothing': np.zeros(SIZE, bool)}}


@pytest.mark.parametrize('style', ['labels', 'typed'])
def test_masks_and_sentences_are_there(tmp_path: Path, masks: dict[str, dict[str, np.ndarray]], style: str) -> None:
    predictions = write_predictions(tmp_path / 'table.jsonl', masks)
    assert write_tasks(predictions, tmp_path / 'out/tasks', style=style) == (2, 3, 2)
    tasks = json.loads((tmp_path / 'out/tasks/tasks.json').read_text())
    labelling = read_labelling((tmp_path / 'out/tasks/labelling.xml').read_text())
    assert [find_sentences(task, labelling) for task in tasks] == [['left zebra', 'the tree'], ['nothing']]
    assert tasks[0]['data']['image'] == '/data/local-files/?d=a%20b/%C3%BC%201.png'
    assert tasks[0]['data']['file'] == 'a b/ü 1.png'
    (prediction,) = tasks[0]['predictions']
    assert prediction['model_version'] == 'table' and prediction['score'] == 0.5
    brushes = [each for each in prediction['result'] if each['type'] == 'brushlabels']
    texts = [each['value']['text'] for each in prediction['result'] if each['type'] == 'textarea']
    for region, (sentence, mask) in zip(brushes, masks['a b/ü 1.png'].items(), strict=True):
        assert np.array_equal(decode_brush(region['value']['rle'], *SIZE), mask)
        assert region['value']['brushlabels'] == ([sentence] if style == 'labels' else ['object'])
    assert texts == ([] if style == 'labels' else [['left zebra'], ['the tree']])
    assert tasks[1]['predictions'][0]['result'] == []


def test_prefix_and_version_are_taken(tmp_path: Path, masks: dict[str, dict[str, np.ndarray]]) -> None:
    write_tasks(write_predictions(tmp_path / 't.jsonl', masks), tmp_path, 'http://host/', 'mine 3')
    (task, _) = json.loads((tmp_path / 'tasks.json').read_text())
    assert task['data']['image'] == 'http://host/a%20b/%C3%BC%201.png'
    assert task['predictions'][0]['model_version'] == 'mine 3'


def test_no_predictions_are_no_tasks(tmp_path: Path) -> None:
    (tmp_path / 't.jsonl').write_text('\n')
    assert write_tasks(tmp_path / 't.jsonl', tmp_path).tasks == 0
    assert json.loads((tmp_path / 'tasks.json').read_text()) == []


GOOD = dict(image='a.png', size=[2, 2], objects=[dict(expression='x', score=0.5, segmentation={})])


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('{', 'line 2 is not what'),
        ('[]', 'line 2 is not what'),
        (json.dumps(dict(GOOD, objects=None)), 'objects a list'),
        (json.dumps(dict(GOOD, size=[0, 2])), 'line 2 is not what'),
        (json.dumps(dict(GOOD, objects=[dict(expression='x', score='high', segmentation={})])), 'a score a number'),
        (json.dumps(GOOD), 'line 2: its segmentation is not an RLE'),
        (json.dumps(dict(GOOD, objects=[dict(expression='x', score=1, segmentation=[[1, 2]])])), 'is no RLE'),
        (json.dumps(dict(row=1, image='a.png', reason='absent')), "line 2 is not what .*'size'"),
    ],
)
def test_other_lines_are_refused(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / 't.jsonl').write_text(f'\n{line}\n')
    with pytest.raises(LabellingError, match=message):
        write_tasks(tmp_path / 't.jsonl', tmp_path)
    assert not (tmp_path / 'tasks.json').exists()
