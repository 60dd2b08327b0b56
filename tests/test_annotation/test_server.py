"""Label Studio's requests, as Label Studio 1.23.2 sends them, answered over HTTP."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from cmmasksd.annotation import backend as backend_module
from cmmasksd.annotation import server as server_module
from cmmasksd.annotation.backend import Backend
from cmmasksd.annotation.brush import decode_brush
from cmmasksd.annotation.labelling import SENTENCES_AS_LABELS, TYPED_SENTENCES
from cmmasksd.annotation.server import make_app
from cmmasksd.apis import ReferringInferencer

SENTENCES = ['left zebra', 'the tree']
LABELS = dict(sentences=[dict(value=sentence) for sentence in SENTENCES])


def request_of(tasks: list[Any], config: str = SENTENCES_AS_LABELS, context: Any = None) -> dict[str, Any]:
    """The body of a prediction's request, with what the editor and the data manager add to tasks."""
    params = dict(login=None, password=None, context=context)
    return dict(tasks=tasks, project='2.1795693700', label_config=config, params=params)


def task_of(image: str, number: int = 7, **data: Any) -> dict[str, Any]:
    return dict(
        id=number, data=dict(image=image, **data), meta={}, project=2, overlap=1, annotations=[], predictions=[]
    )


def predict(address: str, body: dict[str, Any]) -> list[Any]:
    reply = httpx.post(f'{address}/predict', json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()['results']


@pytest.mark.parametrize('path', ['/', '/health'])
def test_it_is_up(address: str, path: str) -> None:
    assert httpx.get(address + path).json()['status'] == 'UP'


def test_it_is_set_up_whatever_the_config(address: str) -> None:
    for schema in (SENTENCES_AS_LABELS, '<View></View>'):
        body = dict(project='2.1', schema=schema, hostname='http://x', access_token='t', extra_params=None)
        assert httpx.post(f'{address}/setup', json=body).json() == dict(model_version='tiny 1')
    assert httpx.get(f'{address}/versions').json() == dict(versions=['tiny 1'])
    assert httpx.get(f'{address}/metrics').json() == {}


def test_sentences_of_a_task_become_masks_of_the_model(
    address: str, inferencer: ReferringInferencer, photos: Path
) -> None:
    (prediction,) = predict(address, request_of([task_of('/data/local-files/?d=p0.png', **LABELS)]))
    (expected,) = inferencer(str(photos / 'p0.png'), SENTENCES)
    expected = expected.at(0.0)
    regions = prediction['result']
    assert [each['value']['brushlabels'] for each in regions] == [[sentence] for sentence in SENTENCES]
    assert len({each['id'] for each in regions}) == 2
    for region, mask, score in zip(regions, expected.masks, expected.scores, strict=True):
        assert (region['from_name'], region['to_name'], region['type']) == ('mask', 'image', 'brushlabels')
        assert (region['original_height'], region['original_width'], region['image_rotation']) == (20, 30, 0)
        assert np.array_equal(decode_brush(region['value']['rle'], 20, 30), mask) and mask.any()
        assert region['value']['format'] == 'rle' and region['score'] == pytest.approx(float(score), abs=1e-5)
    assert prediction['score'] == pytest.approx(float(expected.scores.mean()), abs=1e-5)
    assert prediction['model_version'] == 'tiny 1'


def test_typed_sentences_become_masks_with_their_text(address: str) -> None:
    value = dict(text=['the tree'])
    typed = dict(value=value, id='E9XKwUgO1z', from_name='prompt', to_name='image', type='textarea', origin='manual')
    body = request_of([dict(task_of('p1.png'), drafts=[])], TYPED_SENTENCES, dict(result=[typed]))
    ((brush, text),) = [each['result'] for each in predict(address, body)]
    assert brush['value']['brushlabels'] == ['object'] and text['value'] == value
    assert brush['id'] == text['id'] and (text['type'], text['from_name']) == ('textarea', 'sentence')
    click = dict(id='k', from_name='point', to_name='image', type='keypointlabels', value=dict(x=1, y=2))
    (nothing,) = predict(address, dict(body, params=dict(context=dict(result=[click]))))
    assert nothing['result'] == []


def test_before_a_sentence_is_typed_there_is_nothing_to_keep(address: str) -> None:
    assert predict(address, request_of([task_of('p1.png')], TYPED_SENTENCES)) == [[]]


def test_a_config_without_a_place_for_sentences_gets_notes(address: str) -> None:
    tags = '<Image name="i" value="$image"/><BrushLabels name="m" toName="i"><Label value="it"/></BrushLabels>'
    config = f'<View>{tags}</View>'
    (prediction,) = predict(address, request_of([task_of('p1.png', sentence='the tree')], config))
    (region,) = prediction['result']
    assert region['value']['brushlabels'] == ['it'] and region['meta'] == dict(text=['the tree'])


def test_one_bad_task_does_not_stop_the_others(address: str, caplog: pytest.LogCaptureFixture) -> None:
    tasks = [task_of('absent.png', 1, **LABELS), task_of('p2.png', 2, **LABELS), task_of('p2.png', 3), 'no task']
    bad, good, silent, none = predict(address, request_of(tasks))
    assert bad == silent == none == [] and len(good['result']) == 2
    assert 'Task 1: There is no picture absent.png' in caplog.text and 'Task 3: The task has no sent' in caplog.text


@pytest.mark.parametrize(
    ('body', 'message'),
    [
        (request_of([task_of('absent.png', **LABELS)]), 'Task 7: There is no picture absent.png'),
        (request_of([task_of('notes.txt', **LABELS)]), 'notes.txt is no picture'),
        (request_of([task_of('../notes.txt', **LABELS)]), 'There is no picture ../notes.txt'),
        (request_of([task_of('data:image/png;base64,AAAA', **LABELS)]), 'is no picture'),
        (request_of([dict(task_of('p0.png'), data=dict(**LABELS))]), 'no picture in "image"'),
        (request_of([task_of('p0.png', sentences=[f'{n}' for n in range(101)])]), '101 sentences are too many'),
        (request_of([task_of('p0.png')], '<View/>'), 'needs <Image'),
        (request_of([]), 'list of tasks'),
        ([], 'JSON object'),
    ],
)
def test_what_cannot_be_answered_is_told(address: str, photos: Path, body: Any, message: str) -> None:
    (photos / 'notes.txt').write_text('no picture')
    reply = httpx.post(f'{address}/predict', json=body)
    assert reply.status_code == 400 and message in reply.json()['error']


def test_a_request_that_is_no_json_is_refused(address: str) -> None:
    reply = httpx.post(f'{address}/predict', content=b'{')
    assert reply.status_code == 400 and 'no JSON' in reply.json()['error']


def test_a_picture_that_is_cut_off_is_refused(address: str, photos: Path) -> None:
    (photos / 'cut.png').write_bytes((photos / 'p0.png').read_bytes()[:900])
    reply = httpx.post(f'{address}/predict', json=request_of([task_of('cut.png', **LABELS)]))
    assert reply.status_code == 400 and 'cut.png: the file is truncated' in reply.json()['error']


def test_a_turned_picture_is_answered_as_browsers_show_it(address: str) -> None:
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(buffer, 'JPEG', exif=exif)
    uri = 'data:image/jpeg;base64,' + base64.b64encode(buffer.getvalue()).decode()
    (prediction,) = predict(address, request_of([task_of(uri, **LABELS)]))
    assert {(each['original_height'], each['original_width']) for each in prediction['result']} == {(30, 20)}


def test_a_picture_is_encoded_once(
    address: str, inferencer: ReferringInferencer, monkeypatch: pytest.MonkeyPatch, backend: Backend
) -> None:
    encoded = []
    encode = ReferringInferencer.encode
    monkeypatch.setattr(ReferringInferencer, 'encode', lambda self, image: encoded.append(1) or encode(self, image))
    backend._seen.clear()
    for number in range(3):
        predict(address, request_of([task_of('p0.png', sentence=f'sentence {number}')]))
    assert len(encoded) == 1
    monkeypatch.setattr(backend_module, 'MOST_KEPT', 1)
    for name in ('p1.png', 'p0.png'):
        predict(address, request_of([task_of(name, sentence='the tree')]))
    assert len(encoded) == 3 and len(backend._seen) == 1


def test_webhooks_are_taken_and_training_is_not(address: str) -> None:
    assert httpx.post(f'{address}/webhook', json=dict(action='ANNOTATION_CREATED')).status_code == 200
    for path, body in (('webhook', dict(action='START_TRAINING', project=dict(id=2))), ('train', dict(annotations=[]))):
        reply = httpx.post(f'{address}/{path}', json=body)
        assert reply.status_code == 501 and 'docs/annotation.md' in reply.json()['error']


def test_large_requests_are_refused(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, 'MOST_BYTES', 100)
    reply = TestClient(make_app(backend)).post('/predict', content=json.dumps(dict(tasks=['x' * 100])))
    assert reply.status_code == 400 and 'larger than' in reply.json()['error']


def test_with_a_password_nobody_else_is_let_in(backend: Backend) -> None:
    client = TestClient(make_app(backend, ('user', 'pass:word')))
    for auth in (None, ('user', 'wrong'), ('other', 'pass:word')):
        assert client.get('/health', auth=auth).status_code == 401
        assert client.post('/predict', json=request_of([]), auth=auth).status_code == 401
    assert client.get('/health', headers=dict(Authorization='Bearer dXNlcjpwYXNzOndvcmQ=')).status_code == 401
    assert client.get('/health', auth=('user', 'pass:word')).status_code == 200
