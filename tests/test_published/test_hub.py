"""Fetching from the hub and putting there, by huggingface_hub's own functions against a hub on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest

from cmmasksd.apis import ReferringInferencer
from cmmasksd.published import PublishedError, open_published, push_to_hub
from tests.fake_hub import COMMIT, MODEL, FakeHub, fake_hub, point_to


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, published: Path) -> Iterator[FakeHub]:
    with fake_hub(monkeypatch, tmp_path / 'cache') as found:
        found.serve(published)
        yield found


def refused(name: str, revision: str | None = None) -> str:
    with pytest.raises(PublishedError) as caught:
        open_published(name, revision)
    assert len(str(caught.value).splitlines()) == 1 and name in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize('revision', [None, 'v1', COMMIT])
def test_a_model_of_the_hub_answers_as_its_folder(hub: FakeHub, published: Path, revision: str | None) -> None:
    hub.files['evil.py'] = hub.files['pytorch_model.bin'] = b'import os'
    one, two = (
        ReferringInferencer.from_pretrained(name, revision=each, device='cpu').model.state_dict()
        for name, each in ((MODEL, revision), (published, None))
    )
    assert one.keys() == two.keys() and all(one[name].equal(two[name]) for name in one)
    assert not [line for line in hub.asked if 'evil' in line or 'bin' in line]


def test_what_is_cached_is_taken_when_the_hub_is_down_or_forbidden(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    weights = open_published(MODEL).weights
    point_to('http://127.0.0.1:9', monkeypatch, tmp_path / 'cache')
    assert open_published(MODEL).weights == weights
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    assert open_published(MODEL).weights == weights
    assert 'HF_HUB_OFFLINE=1 forbids to fetch it: unset that' in refused('owner/other')
    assert "revision 'v1'" in refused(MODEL, 'v1')


def test_a_hub_that_is_down(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    point_to('http://127.0.0.1:9', monkeypatch, tmp_path / 'cache')
    message = refused(MODEL)
    assert 'could not be fetched from http://127.0.0.1:9' in message and 'check the network' in message


def test_a_hub_that_fails(hub: FakeHub) -> None:
    hub.status = 501
    assert 'could not be fetched' in refused(MODEL)


def test_names_and_revisions_that_are_not_there(hub: FakeHub) -> None:
    assert 'the hub has no such model' in refused('owner/nonsense')
    assert "owner/model has no revision 'v9'" in refused(MODEL, 'v9')
    for name in ('work_dirs/run/published', 'no such thing', '/nowhere/at/all'):
        assert 'no folder here and no name of the hub' in refused(name)


@pytest.mark.parametrize(
    ('name', 'message'), [('config.json', 'holds no config.json'), ('model.safetensors', 'does not exist')]
)
def test_a_repository_without_a_file(hub: FakeHub, name: str, message: str) -> None:
    del hub.files[name]
    with pytest.raises(PublishedError, match=message):
        open_published(MODEL)


def test_a_cut_off_file_of_the_hub(hub: FakeHub) -> None:
    hub.files['model.safetensors'] = hub.files['model.safetensors'][:-100]
    with pytest.raises(PublishedError, match='cut off'):
        open_published(MODEL)


def test_a_folder_is_put_there_and_comes_back(hub: FakeHub, published: Path, tmp_path: Path) -> None:
    hub.files = {}
    folder = Path(shutil.copytree(published, tmp_path / 'sent'))
    (folder / 'notes.txt').write_text('mine')
    assert push_to_hub(folder, MODEL, private=True, token='hf_x').endswith(COMMIT)
    assert hub.private is True
    assert set(hub.files) == {'config.json', 'model.safetensors', 'README.md'}
    assert open_published(MODEL).weights.read_bytes() == (published / 'model.safetensors').read_bytes()


def test_a_card_that_the_hub_does_not_take(hub: FakeHub, folder: Path) -> None:
    card = (folder / 'README.md').read_text()
    (folder / 'README.md').write_text(card.replace('license: unknown', 'license: nonsense'))
    with pytest.raises(PublishedError, match='could not be sent to .*Invalid metadata .*license. is odd'):
        push_to_hub(folder, MODEL, token='hf_x')


def test_what_is_no_published_model_is_not_sent(hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(PublishedError, match='holds no config.json'):
        push_to_hub(tmp_path, MODEL, token='hf_x')
    assert not hub.asked


@pytest.mark.parametrize(
    ('status', 'message'), [(401, 'run `hf auth login`'), (403, 'run `hf auth login`'), (501, 'could not be sent')]
)
def test_a_hub_that_refuses_what_is_sent(hub: FakeHub, published: Path, status: int, message: str) -> None:
    hub.status = status
    with pytest.raises(PublishedError, match=message):
        push_to_hub(published, MODEL, token='hf_x')


def test_nothing_is_sent_to_a_hub_that_is_down_or_to_no_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, published: Path
) -> None:
    point_to('http://127.0.0.1:9', monkeypatch, tmp_path / 'cache')
    with pytest.raises(PublishedError, match='could not be sent to http://127.0.0.1:9'):
        push_to_hub(published, MODEL, token='hf_x')
    with pytest.raises(PublishedError, match='no name of the hub'):
        push_to_hub(published, 'a/b/c', token='hf_x')
