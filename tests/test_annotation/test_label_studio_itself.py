"""The whole way round with Label Studio itself, where one runs: LABEL_STUDIO_TEST_URL and LABEL_STUDIO_TEST_TOKEN.

Start it on this machine with ``ML_BLOCK_LOCAL_IP=false``, or it takes no backend at an address of this machine.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from cmmasksd.annotation.backend import Backend
from cmmasksd.annotation.brush import decode_brush
from cmmasksd.annotation.exports import write_table
from cmmasksd.annotation.labelling import SENTENCES_AS_LABELS, TYPED_SENTENCES
from cmmasksd.annotation.pictures import LabelStudio, Pictures
from cmmasksd.annotation.server import make_app, started
from cmmasksd.annotation.tasks import write_tasks
from cmmasksd.apis import ReferringInferencer
from tests.test_annotation.test_fifty_one import MASK
from tests.test_annotation.test_tasks import write_predictions

URL, TOKEN = (os.environ.get(f'LABEL_STUDIO_TEST_{name}', '') for name in ('URL', 'TOKEN'))
pytestmark = pytest.mark.skipif(not (URL and TOKEN), reason='LABEL_STUDIO_TEST_URL and _TOKEN name no Label Studio')


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(base_url=URL, headers=dict(Authorization=f'Token {TOKEN}'), timeout=60) as client:
        yield client


@pytest.fixture
def own_address(inferencer: ReferringInferencer) -> Iterator[str]:
    """A backend that reads pictures from Label Studio alone."""
    backend = Backend(inferencer, Pictures(label_studio=LabelStudio(URL, TOKEN)), 'live 1', threshold=0.0)
    with started(make_app(backend)) as address:
        yield address


def ask(client: httpx.Client, method: str, path: str, **options: Any) -> Any:
    reply = client.request(method, path, **options)
    assert reply.status_code < 300, reply.text
    return reply.json() if reply.content else None


def make_project(client: httpx.Client, config: str, photos: Path, address: str) -> tuple[int, int, dict[str, Any]]:
    """A project with one uploaded picture and the backend; gives its number, the backend's and the task."""
    number = ask(client, 'POST', '/api/projects', json=dict(title='test', label_config=TYPED_SENTENCES))['id']
    with (photos / 'p0.png').open('rb') as file:
        ask(client, 'POST', f'/api/projects/{number}/import', files=dict(file=file))  # for configs of one field alone
    ask(client, 'PATCH', f'/api/projects/{number}', json=dict(label_config=config))
    # of an address of this machine it may refuse the webhook; the backend is there nevertheless
    client.post('/api/ml', json=dict(url=address, project=number, title='live', is_interactive=True))
    (backend,) = ask(client, 'GET', f'/api/ml?project={number}')
    assert backend['state'] == 'CO' and backend['model_version'] == 'live 1', backend
    return number, backend['id'], tasks_of(client, number)[0]


def tasks_of(client: httpx.Client, project: int) -> list[dict[str, Any]]:
    return ask(client, 'GET', f'/api/tasks?project={project}&fields=all')['tasks']


def test_typed_sentences_come_back_as_a_table(
    client: httpx.Client, own_address: str, photos: Path, tmp_path: Path
) -> None:
    project, backend, task = make_project(client, TYPED_SENTENCES, photos, own_address)
    typed = dict(id='x', from_name='prompt', to_name='image', type='textarea', value=dict(text=['left zebra']))
    body = dict(task=task['id'], context=dict(result=[typed]))
    answer = ask(client, 'POST', f'/api/ml/{backend}/interactive-annotating', json=body)
    results = [dict(each, origin='prediction') for each in answer['data']['result']]
    ask(client, 'POST', f'/api/tasks/{task["id"]}/annotations', json=dict(result=results))
    (tmp_path / 'export.json').write_bytes(client.get(f'/api/projects/{project}/export?exportType=JSON').content)
    write_table(tmp_path / 'export.json', tmp_path / 'table.jsonl', photos)
    row = json.loads((tmp_path / 'table.jsonl').read_text())
    assert (row['image'], row['sentence']) == ('p0.png', ['left zebra'])


def test_predictions_of_a_table_and_of_the_backend_are_kept(
    client: httpx.Client, own_address: str, photos: Path, tmp_path: Path
) -> None:
    project, _, uploaded = make_project(client, SENTENCES_AS_LABELS, photos, own_address)
    masks = {'p0.png': {'left zebra': MASK, 'the tree': ~MASK}}
    write_tasks(write_predictions(tmp_path / 't.jsonl', masks), tmp_path)
    (task,) = json.loads((tmp_path / 'tasks.json').read_text())
    task['data']['image'] = uploaded['data']['image']
    ask(client, 'POST', f'/api/projects/{project}/import', json=[task])
    action = f'/api/dm/actions?id=retrieve_tasks_predictions&project={project}'
    ask(client, 'POST', action, json=dict(selectedItems=dict(all=True, excluded=[]), ordering=[]))
    assert not tasks_of(client, project)[0]['predictions']  # it has no sentences
    kept = {each['model_version']: each for each in tasks_of(client, project)[-1]['predictions']}
    assert set(kept) == {'t', 'live 1'}
    for region, mask in zip(kept['t']['result'], masks['p0.png'].values(), strict=True):
        assert np.array_equal(decode_brush(region['value']['rle'], 20, 30), mask)
    assert [each['value']['brushlabels'] for each in kept['live 1']['result']] == [['left zebra'], ['the tree']]
