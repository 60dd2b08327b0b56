"""A Hugging Face hub of one model on this machine: as much of its protocol as huggingface_hub asks for."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import huggingface_hub.constants
import pytest

MODEL, COMMIT = 'owner/model', 'c0ffee' * 6 + 'c0ff'


class FakeHub:
    """Serves ``files`` (name -> bytes) as ``owner/model`` at ``main`` and ``v1``; what is sent lands there."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.private: bool | None = None
        self.status = 200  # of every answer

    def serve(self, folder: Path) -> None:
        paths = [path for path in folder.rglob('*') if path.is_file()]
        self.files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        self.asked.append(f'{method} {path}')
        if self.status != 200:
            return self.status, {}, b''
        if path == '/api/repos/create':
            asked = json.loads(body)
            self.private = asked.get('private', asked.get('visibility') == 'private')  # of older and newer clients
            return _json(dict(url=f'{huggingface_hub.constants.ENDPOINT}/{MODEL}', name=MODEL))
        if path == '/api/validate-yaml':
            if 'license: nonsense' in json.loads(body)['content']:
                return 400, {}, json.dumps(dict(errors=[dict(message='"license" is odd')])).encode()
            return _json(dict(errors=[], warnings=[]))
        if path.startswith(f'/api/models/{MODEL}'):
            return self._api(path.removeprefix(f'/api/models/{MODEL}'), body)
        if path.startswith(f'/{MODEL}/resolve/'):
            return self._file(path.removeprefix(f'/{MODEL}/resolve/{COMMIT}/'))
        return 404, {'X-Error-Code': 'RepoNotFound'}, b''

    def _api(self, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        kind, _, rest = path.strip('/').partition('/')
        if kind == 'preupload':
            names = [each['path'] for each in json.loads(body)['files']]
            return _json(dict(files=[dict(path=name, uploadMode='regular', shouldIgnore=False) for name in names]))
        if kind == 'commit':
            for line in map(json.loads, body.splitlines()):
                if line['key'] == 'file':
                    self.files[line['value']['path']] = base64.b64decode(line['value']['content'])
            return _json(
                dict(commitUrl=f'{huggingface_hub.constants.ENDPOINT}/{MODEL}/commit/{COMMIT}', commitOid=COMMIT)
            )
        if kind in ('revision', 'tree') and rest.split('/')[0] not in ('main', 'v1', COMMIT):
            return 404, {'X-Error-Code': 'RevisionNotFound'}, b''
        if kind == 'tree':
            return _json([dict(type='file', path=name, size=len(data), oid=_digest(data))
                          for name, data in self.files.items()])  # fmt: skip
        return _json(dict(id=MODEL, sha=COMMIT, siblings=[dict(rfilename=name) for name in self.files]))

    def _file(self, name: str) -> tuple[int, dict[str, str], bytes]:
        data = self.files.get(name)
        if data is None:
            return 404, {'X-Error-Code': 'EntryNotFound'}, b''
        return 200, {'ETag': f'"{_digest(data)}"', 'X-Repo-Commit': COMMIT}, data


def _digest(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


def _json(content: object) -> tuple[int, dict[str, str], bytes]:
    return 200, {'Content-Type': 'application/json'}, json.dumps(content).encode()


@contextmanager
def fake_hub(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[FakeHub]:
    """A hub that huggingface_hub takes for the real one, with a cache of its own."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
            status, headers, data = hub.answer(self.command, unquote(self.path.split('?')[0]), body)
            self.send_response(status)
            for name, value in {**headers, 'Content-Length': str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != 'HEAD':
                self.wfile.write(data)

        do_GET = do_HEAD = do_POST = _answer

        def log_message(self, *arguments: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    point_to(f'http://127.0.0.1:{server.server_port}', monkeypatch, cache)
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def point_to(address: str, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Makes huggingface_hub ask ``address``; it reads HF_ENDPOINT when it is imported."""
    constants = huggingface_hub.constants
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    monkeypatch.setattr(constants, 'ENDPOINT', address)
    monkeypatch.setattr(constants, 'HUGGINGFACE_CO_URL_TEMPLATE', address + '/{repo_id}/resolve/{revision}/{filename}')
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(cache))
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', False)
