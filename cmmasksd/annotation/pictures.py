"""The pictures that tasks name: local files of given folders, Label Studio's own files, data URIs, named hosts."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import httpx

from cmmasksd.annotation.folders import CLOUDS, Folders, local_name
from cmmasksd.annotation.labelling import LabellingError

MOST_BYTES = 100 * 2**20  # of a picture's file
MOST_HOPS = 5
SECONDS = 30.0
SECONDS_OF_ACCESS = 120.0  # that an exchanged token is used; Label Studio's last five minutes


class LabelStudio:
    """Where Label Studio runs, and the right to read its files.

    Args:
        url: such as ``http://localhost:8080``.
        token: a personal access token, which is exchanged for short-lived ones, or a legacy token; None: none.

    Raises:
        LabellingError: no such address.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ('http', 'https') or not parts.hostname:
            raise LabellingError(f'{url!r} is no address of Label Studio: give it as http://HOST:PORT.')
        self.url, self._token = url.rstrip('/'), token
        self.origin = origin(url)
        self._access: str | None = None
        self._since = 0.0

    def headers(self, client: httpx.Client) -> dict[str, str]:
        """What a request must say to be let in.

        Raises:
            httpx.HTTPError: the token could not be exchanged.
        """
        if not self._token:
            return {}
        if self._token.count('.') != 2:
            return {'Authorization': f'Token {self._token}'}
        if self._access is None or time.monotonic() - self._since > SECONDS_OF_ACCESS:
            reply = client.post(f'{self.url}/api/token/refresh/', json={'refresh': self._token}).raise_for_status()
            self._access, self._since = str(reply.json()['access']), time.monotonic()
        return {'Authorization': f'Bearer {self._access}'}

    def address_of(self, name: str, task_id: object) -> str:
        """Where the file of a task is read: of a path of Label Studio's, or of its cloud storages."""
        if name.split(':')[0] in CLOUDS:
            code = base64.urlsafe_b64encode(name.encode()).decode()
            return f'{self.url}/tasks/{task_id}/presign/?fileuri={quote(code)}'
        path = name if name.startswith('/') else f'/{name}'
        return self.url + (f'/data{path}' if path.startswith('/upload/') else path)


class Pictures:
    """Reads pictures that tasks name, and nothing else.

    Args:
        roots: folders whose files may be read; names of local files are relative to them.
        label_studio: where other files of Label Studio are fetched; None: they are refused.
        hosts: other hosts (``host`` or ``host:port``) that pictures may be fetched from.
    """

    def __init__(
        self, roots: Sequence[Path] = (), label_studio: LabelStudio | None = None, hosts: Iterable[str] = ()
    ) -> None:
        self._folders = Folders(roots)
        self._label_studio, self._hosts = label_studio, {host.lower() for host in hosts}
        self._client = httpx.Client(timeout=SECONDS, follow_redirects=False, trust_env=False)

    def read(self, name: str, task_id: object = None) -> bytes:
        """The bytes of a picture's file.

        Args:
            name: what the task says: an address, a path of Label Studio's, or a data URI.
            task_id: by which Label Studio gives files of its cloud storages.

        Raises:
            LabellingError: a picture that is not there, too large, or out of bounds.
        """
        if name.startswith('data:'):
            return _read_data_uri(name)
        if urlsplit(name).scheme in ('http', 'https'):
            return self._fetch(name, name)
        local = local_name(name)
        if local is not None and (path := self._folders.find(local)) is not None:
            return _read_file(path)
        if self._label_studio is None or (local is not None and not name.startswith('/')):
            raise LabellingError(self._why_not_found(name, local))
        return self._fetch(self._label_studio.address_of(name, task_id), name)

    def _why_not_found(self, name: str, local: str | None) -> str:
        folders = str(self._folders)
        if local is None:
            return f'{name:.200} is kept by Label Studio: give its address (--label-studio) and a token.'
        if folders:
            return f'There is no picture {local:.200} in {folders} (--images).'
        return f'{name:.200} is a local file: give the folder that it is relative to (--images).'

    def _fetch(self, address: str, name: str) -> bytes:
        is_sent = False  # by Label Studio, to a cloud's signed address for instance
        try:
            for _ in range(MOST_HOPS):
                is_ours = self._label_studio is not None and origin(address) == self._label_studio.origin
                if not is_ours and not is_sent:
                    self._check_host(address)
                headers = self._label_studio.headers(self._client) if self._label_studio and is_ours else {}
                with self._client.stream('GET', address, headers=headers) as reply:
                    if not reply.is_redirect:
                        return _limited(reply.raise_for_status().iter_bytes(), name)
                    address, is_sent = str(reply.url.join(reply.headers['location'])), is_ours
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise LabellingError(f'{name:.200} cannot be fetched ({_reason(error)}).') from None
        raise LabellingError(f'{name:.200} leads on and on: over more than {MOST_HOPS} addresses.')

    def _check_host(self, address: str) -> None:
        parts = urlsplit(address)
        host = (parts.hostname or '').lower()
        try:
            known = {host, f'{host}:{parts.port}'}
        except ValueError:  # a port that is none
            known = set()
        if parts.scheme not in ('http', 'https') or not known & self._hosts:
            raise LabellingError(f'{address:.200} is on a host that is not named: allow it by --allow-host {host}.')


def origin(address: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of an address; a port of None is no port's number."""
    parts = urlsplit(address)
    try:
        port = parts.port or {'http': 80, 'https': 443}.get(parts.scheme)
    except ValueError:
        port = None
    return parts.scheme, (parts.hostname or '').lower(), port


def _read_file(path: Path) -> bytes:
    try:
        with path.open('rb') as file:
            return _limited(iter(lambda: file.read(2**20), b''), str(path))
    except OSError as error:
        raise LabellingError(f'{path} cannot be read ({error.strerror}).') from None


def _read_data_uri(uri: str) -> bytes:
    head, comma, body = uri.partition(',')
    if not comma or not head.startswith('data:image/'):
        raise LabellingError(f'{uri[:40]!r} ... is no picture: write data:image/png;base64,...')
    if len(body) > MOST_BYTES * 4 // 3:
        raise LabellingError(_too_large('The data URI'))
    if not head.endswith(';base64'):
        raise LabellingError(f'{uri[:40]!r} ... is not in base64: write data:image/png;base64,...')
    try:
        return base64.b64decode(unquote(body), validate=True)
    except (binascii.Error, ValueError) as error:
        raise LabellingError(f'The data URI {uri[:40]!r} ... is damaged ({error}).') from None


def _limited(parts: Iterable[bytes], name: str) -> bytes:
    content = bytearray()
    for part in parts:
        content += part
        if len(content) > MOST_BYTES:
            raise LabellingError(_too_large(name))
    return bytes(content)


def _too_large(name: str) -> str:
    return f'{name:.200} is larger than {MOST_BYTES >> 20} MiB: make it smaller first.'


def _reason(error: Exception) -> str:
    """What went wrong, without the address's query, which may hold a signature."""
    if isinstance(error, httpx.HTTPStatusError):
        hint = ': set LABEL_STUDIO_API_KEY to a token' if error.response.status_code in (401, 403) else ''
        return f'{error.response.status_code} {error.response.reason_phrase}{hint}'
    return str(error) or type(error).__name__
