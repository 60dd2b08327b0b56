"""Pictures that tasks name: which are read, and which are not."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from cmmasksd.annotation import pictures as pictures_module
from cmmasksd.annotation.labelling import LabellingError
from cmmasksd.annotation.pictures import LabelStudio, Pictures

PICTURE = b'a picture'
REFRESH = 'head.body.signature'  # the form of a personal access token


class Site(BaseHTTPRequestHandler):
    """As Label Studio and a cloud serve files; keeps what was asked."""

    asked: list[tuple[str, str]]
    elsewhere: str

    def do_GET(self) -> None:
        parts, token = urlsplit(self.path), self.headers.get('Authorization', '')
        self.asked.append((self.path, token))
        if parts.path == '/tasks/7/presign/':
            name = base64.urlsafe_b64decode(parse_qs(parts.query)['fileuri'][0]).decode()
            self._reply(303, location=f'{self.elsewhere}/{name.rpartition("/")[2]}?signature=secret')
        elif parts.path == '/out':
            self._reply(302, location=f'{self.elsewhere}/a.png')
        elif parts.path == '/round':
            self._reply(302, location='/round')
        elif parts.path.startswith('/data/') and token not in ('Token legacy', 'Bearer access'):
            self._reply(401)
        else:
            self._reply(404 if 'absent' in parts.path else 200, PICTURE)

    def do_POST(self) -> None:
        self.asked.append((self.path, self.rfile.read(int(self.headers['Content-Length'])).decode()))
        self._reply(200, b'{"access": "access"}')

    def _reply(self, status: int, content: bytes = b'', location: str = '') -> None:
        self.send_response(status)
        if location:
            self.send_header('Location', location)
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Quiet."""


def serve(handler: type[Site]) -> Iterator[str]:
    server = ThreadingHTTPServer(('127.0.0.1', 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def cloud() -> Iterator[type[Site]]:
    site = type('Cloud', (Site,), dict(asked=[], elsewhere='http://127.0.0.1:1'))
    for address in serve(site):
        site.address = address  # type: ignore[attr-defined]
        yield site


@pytest.fixture
def studio(cloud: type[Site]) -> Iterator[type[Site]]:
    site = type('Studio', (Site,), dict(asked=[], elsewhere=cloud.address))  # type: ignore[attr-defined]
    for address in serve(site):
        site.address = address  # type: ignore[attr-defined]
        yield site


@pytest.mark.parametrize(
    'name', ['p0.png', '/data/local-files/?d=p0.png', '/data/local-files?d=%2Fp0.png', '/data/local-files/?d=./p0.png']
)
def test_local_files_are_read(photos: Path, name: str) -> None:
    assert Pictures([photos / 'absent', photos]).read(name) == (photos / 'p0.png').read_bytes()


@pytest.mark.parametrize(
    'name',
    [
        '../secret.png',
        '/data/local-files/?d=../secret.png',
        'link.png',
        'linked/secret.png',
        'p9.png',
        'a\0b',
        '.',
        '..',
    ],
)
def test_nothing_outside_the_folders_is_read(tmp_path: Path, name: str) -> None:
    root = tmp_path / 'root'
    root.mkdir()
    (tmp_path / 'secret.png').write_bytes(PICTURE)
    (root / 'link.png').symlink_to(tmp_path / 'secret.png')
    (root / 'linked').symlink_to(tmp_path)
    with pytest.raises(LabellingError, match='There is no picture'):
        Pictures([root]).read(name)


def test_data_uris_are_read() -> None:
    code = base64.b64encode(PICTURE).decode()
    assert Pictures().read(f'data:image/png;base64,{code}') == PICTURE
    for broken in ('data:image/png;base64', 'data:text/html;base64,AAAA', 'data:image/svg+xml,<svg/>'):
        with pytest.raises(LabellingError, match='data:image/png;base64'):
            Pictures().read(broken)
    with pytest.raises(LabellingError, match='damaged'):
        Pictures().read('data:image/png;base64,%%%')


@pytest.mark.parametrize('token', ['legacy', REFRESH])
@pytest.mark.parametrize(
    'name', ['/data/upload/3/a.png', 'upload/3/a.png', '/data/local-files/?d=a.png', '{}/data/a.png']
)
def test_files_of_label_studio_are_fetched_with_the_token(studio: type[Site], name: str, token: str) -> None:
    address = studio.address  # type: ignore[attr-defined]
    pictures = Pictures(label_studio=LabelStudio(address, token))
    assert pictures.read(name.format(address)) == pictures.read(name.format(address)) == PICTURE
    exchanged = [said for path, said in studio.asked if path == '/api/token/refresh/']
    assert exchanged == ([f'{{"refresh":"{REFRESH}"}}'] if token == REFRESH else [])
    assert studio.asked[-1][0].startswith('/data/')


def test_a_cloud_gets_no_token(studio: type[Site], cloud: type[Site]) -> None:
    pictures = Pictures(label_studio=LabelStudio(studio.address, 'legacy'))  # type: ignore[attr-defined]
    assert pictures.read('s3://bucket/folder/a.png', 7) == PICTURE
    assert [token for _, token in studio.asked] == ['Token legacy']
    assert cloud.asked == [('/a.png?signature=secret', '')]


def test_other_hosts_must_be_named(studio: type[Site], cloud: type[Site]) -> None:
    address, other = studio.address, cloud.address  # type: ignore[attr-defined]
    with pytest.raises(LabellingError, match='--allow-host 127.0.0.1'):
        Pictures().read(f'{address}/a.png')
    named = Pictures(hosts=[address.removeprefix('http://')])
    assert named.read(f'{address}/a.png') == PICTURE
    with pytest.raises(LabellingError, match='not named'):
        named.read(f'{address}/out')  # a named host leads to another
    with pytest.raises(LabellingError, match='not named'):
        named.read(f'{other}/a.png')
    assert not cloud.asked and [token for _, token in studio.asked] == ['', '']


def test_what_cannot_be_fetched_is_told(studio: type[Site], monkeypatch: pytest.MonkeyPatch) -> None:
    address = studio.address  # type: ignore[attr-defined]
    pictures = Pictures(label_studio=LabelStudio(address))
    for name, message in [
        ('/data/upload/3/a.png', '401.*LABEL_STUDIO_API_KEY'),
        ('/absent.png', '404'),
        ('/round', 'leads on and on'),
    ]:
        with pytest.raises(LabellingError, match=message):
            pictures.read(name)
    for name in ('/data/upload/3/a.png', 's3://bucket/a.png'):
        with pytest.raises(LabellingError, match='kept by Label Studio'):
            Pictures().read(name)
    with pytest.raises(LabellingError, match='is a local file'):
        Pictures().read('/data/local-files/?d=a.png')
    monkeypatch.setattr(pictures_module, 'MOST_BYTES', 4)
    with pytest.raises(LabellingError, match='is larger than'):
        pictures.read('/a.png')
    with pytest.raises(LabellingError, match='is larger than'):
        pictures.read('data:image/png;base64,' + 'A' * 9)


def test_a_large_local_file_is_refused(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures_module, 'MOST_BYTES', 4)
    with pytest.raises(LabellingError, match='is larger than'):
        Pictures([photos]).read('p0.png')


@pytest.mark.parametrize('url', ['localhost:8080', 'ftp://localhost', 'http://'])
def test_addresses_that_are_none_are_refused(url: str) -> None:
    with pytest.raises(LabellingError, match='http://HOST:PORT'):
        LabelStudio(url)
