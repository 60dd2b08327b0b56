"""Folders whose files may be read, and the names by which Label Studio's tasks call such files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

CLOUDS = ('s3', 'gs', 'azure-blob')
LOCAL_FILES = '/data/local-files'
UPLOAD_MARK = re.compile(r'[0-9a-f]{8}-(?=.)')  # Label Studio puts it before the name of an uploaded file


class Folders:
    """Files in folders, by names relative to them; nothing outside is found, whatever a name or link says."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = [root.resolve() for root in roots]

    def __str__(self) -> str:
        return ', '.join(map(str, self._roots))

    def find(self, name: str) -> Path | None:
        """The file of a name, relative or not; None: there is none in the folders."""
        for root in self._roots:
            try:
                path = (root / name.lstrip('/')).resolve()
                if path.is_relative_to(root) and path.is_file():
                    return path
            except (OSError, ValueError):  # a name that no file can have
                continue
        return None


def local_name(address: str) -> str | None:
    """The name of a file relative to its folder, out of a local storage's address or as it is; None: no local file."""
    parts = urlsplit(address)
    if parts.path.rstrip('/') == LOCAL_FILES:
        return parse_qs(parts.query).get('d', [''])[-1] or None
    return None if parts.scheme or parts.netloc or address.startswith(('/', 'upload/')) else address


def possible_names(address: str) -> list[str]:
    """Names that the file of a picture's address may have where somebody keeps it: the likeliest first."""
    if address.startswith('data:'):
        return []
    local = local_name(address)
    if local is not None:
        return [local, local.rpartition('/')[2]]
    path = unquote(urlsplit(address).path)
    base = path.rpartition('/')[2]
    return [path.removeprefix('/data'), base, UPLOAD_MARK.sub('', base, count=1)]
