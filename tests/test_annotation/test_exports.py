"""What Label Studio exports as a table, and the whole way round."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from cmmasksd.annotation.brush import decode_brush, encode_brush
from cmmasksd.annotation.exports import write_table
from cmmasksd.annotation.labelling import LabellingError
from cmmasksd.annotation.tasks import write_tasks
from cmmasksd.datasets.custom import make_custom
from cmmasksd.datasets.refer import load_refer
from cmmasksd.datasets.refer.segmentation import decode_mask
from tests.test_annotation.test_tasks import write_predictions

Tasks = list[dict[str, Any]]
UPLOADED, LOCAL = 'upload/3/2b65d287-refshapes_bc4e211f_000000002.jpg', 'photos/refshapes_bc4e211f_000000001.jpg'


def save_picture(path: Path, size: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(list(path.name.encode())).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(noise).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with the pictures of the export, as Label Studio keeps them."""
    save_picture(tmp_path / UPLOADED, (128, 128))
    save_picture(tmp_path / LOCAL, (144, 112))
    return tmp_path


def to_rows(tasks: Tasks, root: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of the table, and what was told."""
    (root / 'export.json').write_text(json.dumps(tasks))
    told: list[str] = []
    write_table(root / 'export.json', root / 'table.jsonl', root, told.append)
    return [json.loads(line) for line in (root / 'table.jsonl').read_text().splitlines()], told


def test_masks_of_the_editor_arrive(export: Tasks, root: Path) -> None:
    rows, told = to_rows(export, root)
    assert [(row['image'], row['sentence']) for row in rows] == [
        (UPLOADED, ['the green circle']),
        (LOCAL, ['the circle in the top left']),
        (LOCAL, ['the small purple shape']),
        (LOCAL, ['the small green shape']),
    ]
    assert told == ['Rows: 4; tasks: 2; masks: 4 accepted, 1 drawn.']
    predicted, _, _, stroke = (
        decode_brush(each['value']['rle'], 144, 112) for each in export[1]['annotations'][0]['result']
    )
    assert stroke.any() and not (predicted & stroke).any()
    assert np.array_equal(coco_mask.decode(rows[1]['mask']).astype(bool), predicted | stroke)


def test_an_uploaded_file_is_found_by_the_name_it_had(export: Tasks, root: Path) -> None:
    own = root / 'own'
    save_picture(own / 'refshapes_bc4e211f_000000002.jpg', (128, 128))
    save_picture(own / 'refshapes_bc4e211f_000000001.jpg', (144, 112))
    (root / 'export.json').write_text(json.dumps(export))
    write_table(root / 'export.json', root / 'table.jsonl', own)
    names = {json.loads(line)['image'] for line in (root / 'table.jsonl').read_text().splitlines()}
    assert names == {'refshapes_bc4e211f_000000002.jpg', 'refshapes_bc4e211f_000000001.jpg'}


def test_two_files_of_one_name_are_not_confused(export: Tasks, root: Path) -> None:
    other = deepcopy(export[0])
    other['data']['image'] = '/data/upload/4/aaaaaaaa-refshapes_bc4e211f_000000002.jpg'
    save_picture(root / 'refshapes_bc4e211f_000000002.jpg', (128, 128))
    (root / UPLOADED).unlink()
    with pytest.raises(LabellingError, match='both lead to'):
        to_rows([export[0], other], root)


def change(tasks: Tasks, **fields: Any) -> dict[str, Any]:
    """The first region of the labelled task, changed."""
    region = tasks[1]['annotations'][0]['result'][0]
    region.update(fields)
    return region


def second(tasks: Tasks) -> dict[str, Any]:
    """Another annotation of the labelled task, with one region."""
    other = deepcopy(tasks[1]['annotations'][0])
    other.update(result=other['result'][:1], updated_at='2030-01-01T00:00:00Z', ground_truth=False)
    tasks[1]['annotations'].append(other)
    return other


def test_of_several_annotations_the_newest_is_taken(export: Tasks, root: Path) -> None:
    second(export)
    rows, told = to_rows(export, root)
    assert len(rows) == 2 and told[-1].endswith('newest of several annotations was taken: 1.')


def test_the_ground_truth_goes_before_the_newest(export: Tasks, root: Path) -> None:
    second(export)
    export[1]['annotations'][0]['ground_truth'] = True
    assert len(to_rows(export, root)[0]) == 4


def test_skipped_and_unlabelled_tasks_are_counted(export: Tasks, root: Path) -> None:
    export[1]['annotations'][0]['was_cancelled'] = True
    export.append(dict(id=9, data=dict(image='x.png'), annotations=[]))
    rows, told = to_rows(export, root)
    assert len(rows) == 1 and told[1] == 'Tasks without an annotation, or with skipped ones only: 2.'


def test_other_results_are_counted(export: Tasks, root: Path) -> None:
    box = dict(id='b', type='rectanglelabels', value=dict(x=1, y=2, width=3, height=4, rectanglelabels=['a']))
    export[0]['annotations'][0]['result'] += [box, dict(id='c', type='choices', value=dict(choices=['good']))]
    rows, told = to_rows(export, root)
    assert len(rows) == 4 and told[1] == 'Left out, for they are no brush masks: 1 rectanglelabels, 1 choices.'


def test_a_split_is_passed_on(export: Tasks, root: Path) -> None:
    for task in export:
        task['data']['split'] = 'testA'
    assert {row['split'] for row in to_rows(export, root)[0]} == {'testA'}


@pytest.mark.parametrize(
    ('meta', 'label', 'data', 'expected'),
    [
        (dict(text=['the note', 'another']), 'object', dict(sentence='given'), ['the note', 'another']),
        (None, 'the small purple shape', {}, ['the small purple shape']),
        (None, 'object', dict(sentences=['given']), ['given']),
        (None, 'object', dict(sentences=['one', 'two']), None),
        (None, 'object', dict(sentences=[]), None),
    ],
)
def test_where_sentences_come_from(
    export: Tasks, root: Path, meta: Any, label: str, data: dict[str, Any], expected: list[str] | None
) -> None:
    region = change(export, meta=meta)
    region['value']['brushlabels'] = [label]
    export[1]['annotations'][0]['result'] = [region]
    export[1]['data'].update(data)
    if expected is None:
        with pytest.raises(LabellingError, match=r'task 15: region a05ddcbe46 \(object\) has no sentence'):
            to_rows(export[1:], root)
    else:
        assert [row['sentence'] for row in to_rows(export[1:], root)[0]] == [expected]


def test_each_region_has_texts_of_its_own(export: Tasks, root: Path) -> None:
    """A second object, whose text area an annotator gave two sentences; the prompt above holds what was typed."""
    results = export[0]['annotations'][0]['result']
    brush, text = deepcopy(results)
    value = dict(text=['the star', 'red thing'])
    mask = np.zeros((128, 128), bool)
    mask[:9, :9] = True
    brush.update(id='second', value=dict(brush['value'], rle=encode_brush(mask)))
    results += [brush, dict(text, id='second', value=value)]
    results.append(dict(text, id='of no region', from_name='prompt', value=dict(text=['something else'])))
    rows, _ = to_rows(export[:1], root)
    assert [row['sentence'] for row in rows] == [['the green circle'], ['the star', 'red thing']]
    assert coco_mask.area(rows[1]['mask']) == 81


def test_a_sentence_that_was_typed_for_the_only_object_counts(export: Tasks, root: Path) -> None:
    results = export[0]['annotations'][0]['result']
    results[1].update(id='of no region', from_name='prompt')
    assert to_rows(export[:1], root)[0][0]['sentence'] == ['the green circle']


BLACK = encode_brush(np.zeros((144, 112), bool))


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (lambda tasks: change(tasks, image_rotation=90), 'was turned in the editor'),
        (lambda tasks: change(tasks)['value'].update(rle=BLACK[:9]), 'region a05ddcbe46: its rle is cut off'),
        (lambda tasks: change(tasks, original_width=111), 'its rle holds 64512 bytes'),
        (lambda tasks: change(tasks, original_width='x'), 'whole numbers'),
        (lambda tasks: change(tasks, original_height=10**6, original_width=10**6), 'there is no picture of'),
        (lambda tasks: change(tasks, original_height=112, original_width=144), 'different sizes'),
        (lambda tasks: tasks[1]['annotations'][0].update(result='none'), 'no list of results'),
        (lambda tasks: tasks[1].update(annotations=[7]), 'must be exported in full'),
        (lambda tasks: tasks[1]['data'].update(file='a.png', image='b.png'), 'there is no a.png or b.png in '),
        (lambda tasks: tasks[1]['data'].update(file='../x.png', image='data:image/png;base64,AA'), 'there is no ../x'),
    ],
)
def test_what_is_wrong_is_told_with_its_task(
    export: Tasks, root: Path, spoil: Callable[[Tasks], Any], message: str
) -> None:
    spoil(export)
    with pytest.raises(
        LabellingError, match=f'export.json: tasks that cannot be used: 1.\ntask 15: .*{re.escape(message)}'
    ):
        to_rows(export, root)
    assert not (root / 'table.jsonl').exists()


def test_an_empty_mask_is_refused(export: Tasks, root: Path) -> None:
    region = change(export)
    region['value']['rle'] = BLACK
    export[1]['annotations'][0]['result'] = [region]
    with pytest.raises(LabellingError, match='the mask of "the circle in the top left" is empty'):
        to_rows(export, root)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{', 'is no JSON'),
        ('{"annotations": []}', 'no list of tasks'),
        ('[{"id": 1, "image": "/data/a.png", "mask": []}]', 'export as JSON'),
        ('[]', 'holds no mask'),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / 'export.json').write_text(content)
    with pytest.raises(LabellingError, match=message):
        write_table(tmp_path / 'export.json', tmp_path / 'table.jsonl', tmp_path)


def test_from_predictions_to_a_set_to_train_on(tmp_path: Path) -> None:
    """Predictions are imported, one mask is corrected, all are submitted; the table trains the next model."""
    size = (40, 60)
    first, other = np.zeros(size, bool), np.zeros(size, bool)
    first[5:20, 5:25], other[25:38, 30:55] = True, True
    for name in ('a.png', 'b.png'):
        save_picture(tmp_path / 'photos' / name, size)
    masks = {'photos/a.png': {'left zebra': first, 'the tree': other}, 'photos/b.png': {'the dog': other}}
    write_tasks(write_predictions(tmp_path / 'answers.jsonl', masks), tmp_path)
    tasks = json.loads((tmp_path / 'tasks.json').read_text())
    corrected = first.copy()
    corrected[5:8] = False
    for number, task in enumerate(tasks):
        results = [dict(each, origin='prediction') for each in task['predictions'][0]['result']]
        task.update(id=number, annotations=[dict(result=results, was_cancelled=False)])
    region = tasks[0]['annotations'][0]['result'][0]
    region.update(origin='prediction-changed')
    region['value']['rle'] = encode_brush(corrected)
    rows, told = to_rows(tasks, tmp_path)
    assert len(rows) == 3 and told == ['Rows: 3; tasks: 2; masks: 1 corrected, 2 accepted.']

    counts = make_custom(tmp_path / 'table.jsonl', tmp_path / 'data', 'my_set', images=tmp_path)
    assert sum(each['sentences'] for each in counts.values()) == 3
    data = load_refer(tmp_path / 'data', 'my_set', 'custom')
    found = {ref.sentences[0].sent: decode_mask(ref.segmentation, *size) for ref in data.refs}
    for sentence, expected in {'left zebra': corrected, 'the tree': other, 'the dog': other}.items():
        assert np.array_equal(found[sentence], expected), sentence
