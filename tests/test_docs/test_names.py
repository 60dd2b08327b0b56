"""What the documents name is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*ROOT.glob('*.md'), *(ROOT / 'docs').rglob('*.md'), *(ROOT / 'configs').rglob('*.md')]
SCRIPTS = [*ROOT.glob('tools/**/*.sh'), ROOT / 'pyproject.toml', *ROOT.glob('requirements/*.txt')]


def test_tests_that_documents_name_exist() -> None:
    named = {name for document in DOCUMENTS for name in re.findall(r'tests/[\w/]+\.py(?:::\w+)?', document.read_text())}
    lost = []
    for name in sorted(named):
        path, _, test = name.partition('::')
        if not (ROOT / path).is_file() or f'def {test}' not in (ROOT / path).read_text():
            lost.append(name)
    assert not lost
    assert len(named) > 40


def test_files_that_documents_name_exist() -> None:
    folders = 'cmmasksd|configs|docs|requirements|tools'
    named = {
        name
        for document in DOCUMENTS
        for name in re.findall(rf'(?<![\w/])(?:{folders})/[\w/.+-]+\.\w+', document.read_text())
        if 'my_' not in name and 'mine' not in name
    }
    assert not [name for name in sorted(named) if not (ROOT / name).exists()]
    assert len(named) > 20


def test_lines_fit_beside_one_another() -> None:
    """At most 120 characters; Python is ruff's business, and the row of a table cannot be broken."""
    files = [*DOCUMENTS, *SCRIPTS]
    long = [
        f'{file.relative_to(ROOT)}:{number}'
        for file in files
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if len(line) > 120 and not line.startswith('|')
    ]
    assert not long
    assert len(files) > 15
