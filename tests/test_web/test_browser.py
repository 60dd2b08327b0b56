"""The page in a browser: typed into, clicked, looked at; nothing leaves this machine."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytestmark = pytest.mark.slow
CHROMIUM = os.environ.get('CHROMIUM') or shutil.which('chromium') or shutil.which('chromium-browser')
DESKTOP, PHONE = dict(width=1440, height=900), dict(width=390, height=844)


@pytest.fixture(scope='module')
def browser() -> Iterator[Any]:
    if not CHROMIUM:
        pytest.skip('no Chromium: install one, or name its program in CHROMIUM')
    sync_api = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The page, which fails the test where it asks another machine for anything or reports an error."""
    hosts, complaints = set(), []
    page = browser.new_page(viewport=DESKTOP)
    page.on('request', lambda request: hosts.add(urlsplit(request.url).hostname))
    page.on('websocket', lambda socket: hosts.add(urlsplit(socket.url).hostname))
    page.on('pageerror', lambda error: complaints.append(str(error)))
    page.goto(address)
    page.wait_for_selector('#segment')
    yield page
    page.close()
    assert hosts - {None} == {'127.0.0.1'}  # None: data: and blob:
    assert not complaints


def legends(page: Any) -> list[str]:
    return [each.strip() for each in page.locator('#masks .legend-item').all_inner_texts()]


def test_from_a_picture_to_a_file(page: Any, picture: Path, tmp_path: Path) -> None:
    page.set_input_files('#picture input[type=file]', str(picture))
    page.wait_for_selector('#picture img')
    page.fill('#sentences textarea', 'the red one\nleft')
    page.click('#segment')
    page.wait_for_selector('#masks img.mask')
    assert page.locator('#masks img.mask').count() == 2 and len(legends(page)) == 2
    assert page.locator('#correlation img').count() == 1
    page.fill('#threshold input[type=number]', '0.95')
    page.keyboard.press('Tab')
    page.wait_for_function("document.querySelector('#masks').innerText.includes('nothing above 0.95')")
    for name, ending in (('mask', '_1.png'), ('coco_rle', '_coco_rle.json'), ('report', '.json'), ('all', '.zip')):
        with page.expect_download() as download:
            page.click(f'#save-{name}')
        assert download.value.suggested_filename == f'picture{ending}'
        download.value.save_as(tmp_path / name)
    assert json.loads((tmp_path / 'report').read_text())['threshold'] == 0.95
    page.fill('#sentences textarea', '')
    page.click('#segment')
    page.get_by_text('There is no sentence yet').wait_for()
    assert page.locator('[data-testid=status-tracker] .error').filter(visible=True).count() == 0
    assert page.locator('#masks img.mask').count() == 2


def test_an_example_by_a_finger_on_a_phone(page: Any) -> None:
    page.set_viewport_size(PHONE)
    page.locator('#examples button').first.click()
    page.wait_for_selector('#masks img.mask')
    text = page.input_value('#sentences textarea')
    assert len(legends(page)) == len(text.splitlines()) > 0
    assert page.evaluate('document.documentElement.scrollWidth') == PHONE['width']
    page.fill('#sentences textarea', f'{text}\n<img src=x onerror=alert(1)>')
    page.click('#segment')
    page.wait_for_function("document.querySelector('#masks').innerText.includes('onerror')")


def test_many_pictures(page: Any, picture: Path) -> None:
    page.get_by_role('tab', name='Many pictures').click()
    page.set_input_files('#pictures input[type=file]', [str(picture)])
    page.get_by_text('picture.png').or_(page.get_by_text('picture')).first.wait_for()
    page.fill('#sentences-many textarea', 'red')
    page.click('#segment-many')
    page.wait_for_selector('#archive a[download]')
    assert 'masks.zip' in page.get_attribute('#archive a[download]', 'href')
