"""The page by Gradio's own client: what is right is answered, what is wrong is told in a sentence."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cmmasksd.apis import ReferringInferencer
from tests.test_web.conftest import save_picture

gradio_client = pytest.importorskip('gradio_client', reason='Gradio is not installed')
pytestmark = pytest.mark.slow

Client = Callable[..., Any]


@pytest.fixture
def client(address: str, tmp_path: Path) -> Client:
    """``client(*arguments, api_name=...)``: a browser's session."""
    return gradio_client.Client(address, verbose=False, download_files=str(tmp_path / 'got')).predict


def upload(path: Path) -> Any:
    return gradio_client.handle_file(str(path))


def legends(masks: dict[str, Any]) -> list[str]:
    return [each['label'] for each in masks['value']['annotations']]


def test_a_session(client: Client, picture: Path, inferencer: ReferringInferencer) -> None:
    masks, sentence, correlation, *_ = client(upload(picture), 'red\nblue', 0.0, api_name='/ask')
    assert legends(masks) == ['1  red · 100 %', '2  blue · 100 %']
    assert sentence['value'] == 'red' and Path(correlation).is_file()
    assert legends(client(0.95, api_name='/threshold'))[0] == '1  red · nothing above 0.95'
    assert client('blue', api_name='/correlation') != correlation
    (expected,) = inferencer(str(picture), ['red', 'blue'])
    median = float(np.median(expected.probabilities))
    mask = np.asarray(Image.open(client(median, 'blue', api_name='/save_mask')).convert('L')) == 255
    assert (mask != expected.at(median).masks[1]).mean() < 0.01
    report = json.loads(Path(client(0.5, api_name='/save_report')).read_text())
    assert report['image'] == 'picture.png' and report['threshold'] == 0.5 and len(report['objects']) == 2
    assert len(json.loads(Path(client(0.5, api_name='/save_coco_rle')).read_text())) == 2
    with zipfile.ZipFile(client(0.5, api_name='/save_all')) as archive:
        assert len(archive.namelist()) == 5


def test_two_at_once_see_their_own(address: str, tmp_path: Path, inferencer: ReferringInferencer) -> None:
    def ask(seed: int) -> tuple[list[int], list[int]]:
        path = save_picture(tmp_path / f'{seed}.png', seed, size=(60 + seed, 80))
        predict = gradio_client.Client(address, verbose=False).predict
        for text in ('red', 'red\nblue'):
            predict(upload(path), text, 0.3, api_name='/ask')
        report = json.loads(Path(predict(0.3, api_name='/save_report')).read_text())
        expected = inferencer(str(path), ['red', 'blue'])[0].at(0.3).to_dict()
        areas = ([each['area'] for each in made['objects']] for made in (report, expected))
        assert report['size'] == [60 + seed, 80]
        return tuple(areas)

    with ThreadPoolExecutor(3) as pool:
        for found, expected in pool.map(ask, range(3)):
            assert np.allclose(found, expected, atol=5)


def test_many_pictures(client: Client, tmp_path: Path, picture: Path) -> None:
    notes = tmp_path / 'notes.jpg'
    notes.write_text('no picture')
    with zipfile.ZipFile(client([upload(picture), upload(notes)], 'red', 0.3, api_name='/pictures')) as archive:
        assert {'picture_1.png', 'picture.json', 'problems.txt'} <= set(archive.namelist())


@pytest.mark.parametrize(
    ('text', 'message'),
    [('', 'There is no sentence yet'), ('\n'.join(map(str, range(200))), '200 sentences are too many')],
)
def test_sentences_that_are_none_or_too_many(client: Client, picture: Path, text: str, message: str) -> None:
    with pytest.raises(gradio_client.exceptions.AppError, match=message):
        client(upload(picture), text, 0.3, api_name='/ask')


def test_files_that_will_not_do(client: Client, tmp_path: Path) -> None:
    notes, cut = tmp_path / '<b>notes.jpg', tmp_path / 'cut.jpg'
    notes.write_text('no picture')
    save_picture(tmp_path / 'whole.jpg', seed=1)
    cut.write_bytes((tmp_path / 'whole.jpg').read_bytes()[:-300])
    for given, message in [
        (None, 'There is no picture yet'),
        (upload(notes), 'notes.jpg is no picture that can be read'),
        (upload(cut), 'cut.jpg: .*(truncated|damaged)'),
    ]:
        with pytest.raises(gradio_client.exceptions.AppError, match=message) as told:
            client(given, 'red', 0.3, api_name='/ask')
        assert '/gradio/' not in str(told.value) and '<b>' not in str(told.value)


@pytest.mark.parametrize(
    ('path', 'message'),
    [
        ('/etc/passwd', 'was not uploaded'),
        ('http://example.com/cat.png', 'Addresses are not fetched here'),
        ('https://example.com/cat.png', 'Addresses are not fetched here'),
    ],
)
@pytest.mark.parametrize('name', ['ask', 'pictures'])
def test_paths_and_addresses_in_place_of_files(address: str, name: str, path: str, message: str) -> None:
    given = dict(path=path, meta=dict(_type='gradio.FileData'))
    data = json.dumps(dict(data=[[given] if name == 'pictures' else given, 'red', 0.3])).encode()
    call = f'{address}gradio_api/call/{name}'
    posted = urllib.request.urlopen(urllib.request.Request(call, data, {'Content-Type': 'application/json'}))
    answer = urllib.request.urlopen(f'{call}/{json.loads(posted.read())["event_id"]}').read().decode()
    assert answer.startswith('event: error') and message in answer


def test_nothing_was_asked_yet(client: Client) -> None:
    for arguments, name in (([0.5], '/save_all'), ([0.5, None], '/save_mask'), ([None], '/correlation')):
        with pytest.raises(gradio_client.exceptions.AppError, match='Nothing was asked yet'):
            client(*arguments, api_name=name)


def test_fifty_megapixels(client: Client, tmp_path: Path) -> None:
    large = tmp_path / 'large.jpg'
    Image.new('RGB', (8200, 6100), (200, 30, 30)).save(large)
    masks, *_ = client(upload(large), 'red', 0.3, api_name='/ask')
    with Image.open(masks['value']['image']) as shown:
        assert shown.size == (1024, 762)


@pytest.mark.parametrize('path', ['/etc/passwd', '../../etc/passwd', '%2e%2e/%2e%2e/etc/passwd', 'setup.py'])
def test_no_file_of_the_machine_is_given_away(address: str, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f'{address}gradio_api/file={path}')
    assert refused.value.code in (403, 404)
