"""The site: built as tools/build_docs.sh builds it, where a warning is an error; then read as a browser would."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from tests.test_docs.code_blocks import ROOT

pytest.importorskip('furo', reason='needs the site builder: pip install -r requirements/docs.txt')
pytestmark = pytest.mark.slow
LOADED = {('script', 'src'), ('img', 'src'), ('iframe', 'src'), ('source', 'src'), ('video', 'src'), ('link', 'href')}


class Page(HTMLParser):
    """What a page loads, where it leads, and the places in it that others can lead to."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.leads: list[str] = []
        self.places: set[str] = set()
        self.feed(file.read_text(encoding='utf-8'))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if (tag, name) in LOADED:
                self.loads.append(value)
            elif (tag, name) == ('a', 'href'):
                self.leads.append(value)
            elif name == 'id' or (tag, name) == ('a', 'name'):
                self.places.add(value)


@pytest.fixture(scope='module')
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the script's own command, with no proxy or network to reach."""
    folder = tmp_path_factory.mktemp('site')
    (line,) = re.findall(r'^"\$python" (-m sphinx .*) "\$site"$', (ROOT / 'tools/build_docs.sh').read_text(), re.M)
    command = shlex.split(line.replace('build/doctrees', str(folder / 'trees')))
    assert '-W' in command
    dead = {f'{kind}_proxy': 'http://127.0.0.1:9' for kind in ('http', 'https')}
    environment = {**os.environ, **dead, 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        [sys.executable, *command, folder / 'html'], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return folder / 'html'


@pytest.fixture(scope='module')
def pages(site: Path) -> dict[Path, Page]:
    found = {file: Page(file) for file in sorted(site.rglob('*.html'))}
    assert len(found) > 35
    return found


def test_every_document_is_a_page(site: Path) -> None:
    sources = [file for kind in ('md', 'ipynb') for file in (ROOT / 'docs').rglob(f'*.{kind}')]
    built = [site / file.relative_to(ROOT).with_suffix('.html') for file in sources]
    assert [file for file in built if not file.is_file()] == []
    assert len(built) > 25


def test_nothing_is_loaded_from_a_network(site: Path, pages: dict[Path, Page]) -> None:
    foreign = [(file.name, url) for file, page in pages.items() for url in page.loads if urlparse(url).netloc]
    assert foreign == []
    assert sum(len(page.loads) for page in pages.values()) > 100
    styles = list(site.rglob('*.css'))
    text = '\n'.join(file.read_text() for file in styles)
    assert styles and re.findall(r'(?:url\(|@import)\s*["\']?(\w+://[^"\')]+)', text) == []


def test_links_lead_somewhere(pages: dict[Path, Page]) -> None:
    @cache
    def read(file: Path) -> Page:
        return pages.get(file) or Page(file)

    lost, tried = [], 0
    for file, page in pages.items():
        for link in {*page.leads, *page.loads}:
            parts = urlparse(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            place = unquote(parts.fragment)
            tried += 1
            if not target.is_file():
                lost.append((file.name, link))
            elif place and target.suffix == '.html' and place not in read(target).places:
                lost.append((file.name, link))
    assert lost == []
    assert tried > 1000


def test_the_api_holds_every_registered_type(pages: dict[Path, Page]) -> None:
    from tests.test_registry import NAMES

    places = {place.rpartition('.')[2] for page in pages.values() for place in page.places if '.' in place}
    names = {name for each in NAMES.values() for name in each}
    assert sorted(names - places) == []
    assert len(names) > 30


def test_signatures_and_docstrings_are_read(site: Path) -> None:
    text = re.sub(r'<[^>]+>', '', (site / 'docs/api/distillation.html').read_text())
    assert 'Draws the positions to mask among the most correlated ones' in text
    assert re.search(r'choose_masked\(\s*scores', text)
