"""What the documents name is there."""

from __future__ import annotations

import re
from pathlib import Path

from cmmasksd.datasets.refer.published import PUBLISHED_COUNTS

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


def anchors(document: Path) -> set[str]:
    """The places of a page that a forge makes of its headings."""
    headings = re.findall(r'^#+ (.+)$', document.read_text(), re.MULTILINE)
    words = [re.sub(r'[^\w\- ]', '', re.sub(r'[`*]|\]\(.*?\)', '', heading)) for heading in headings]
    return {each.strip().lower().replace(' ', '-') for each in words}


def test_relative_links_lead_somewhere_on_a_forge() -> None:
    lost, tried = [], 0
    for document in [*DOCUMENTS, *(ROOT / 'projects').rglob('*.md')]:
        for link in re.findall(r'\]\(([^)\s]+)\)', re.sub(r'```.*?```', '', document.read_text(), flags=re.DOTALL)):
            path, _, place = link.partition('#')
            if re.match(r'\w+:', link):
                continue
            target = (document.parent / path).resolve() if path else document
            if not target.exists() or (place and place not in anchors(target)):
                lost.append(f'{document.relative_to(ROOT)}: {link}')
            tried += 1
    assert not lost
    assert tried > 150


def test_the_readme_is_short_and_shows_a_picture_at_once() -> None:
    lines = (ROOT / 'README.md').read_text().splitlines()
    assert len(lines) < 150
    assert any(line.startswith('![') for line in lines[:15])


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


def test_counts_that_documents_give_are_the_published_ones() -> None:
    rows = re.findall(
        r'^\| (RefCOCO\S*) \| (\w+) \| (.+) \|$', (ROOT / 'docs/keeping_data.md').read_text(), re.MULTILINE
    )
    given = {
        (name.lower(), split_by, split): int(count.replace(',', ''))
        for name, split_by, cell in rows
        for split, count in re.findall(r'(\w+) ([\d,]+\d)', cell)
    }
    assert given == {
        (*key, split): sentences
        for key, splits in PUBLISHED_COUNTS.items()
        for split, (_, _, sentences) in splits.items()
        if sentences is not None and key != ('refcoco', 'google')
    }
    assert len(given) == 11


def test_each_equation_table_and_figure_of_the_paper_has_a_row() -> None:
    text = (ROOT / 'docs/paper_to_code.md').read_text()
    parts = {name: part for name, _, part in (part.partition('\n') for part in text.split('\n## ')[1:])}
    names = {name: re.findall(r'^\| ([\w, ]+?) \|', part, re.MULTILINE) for name, part in parts.items()}
    firsts = {name: [re.match(r'\d(?:, \d)?\w?', each) for each in column] for name, column in names.items()}
    found = {name: [match.group() for match in matches if match] for name, matches in firsts.items()}
    assert found['Equations'] == [str(number) for number in range(1, 10)]
    assert found['Tables'] == ['1', '2', '3a', '3b', '3c', '4a', '4b', '4c', '5']
    assert found['Figures'] == ['1', '2', '3', '4, 5']


def test_classes_and_functions_that_the_map_names_are_in_the_files_it_links() -> None:
    text = (ROOT / 'docs/paper_to_code.md').read_text()
    tried = 0
    for row in (line for line in text.splitlines() if line.startswith('|')):
        for cell in row.split('|'):
            linked = [(ROOT / 'docs' / path).resolve() for path in re.findall(r'\]\((\.\./\S+?\.py)\)', cell)]
            code = '\n'.join(path.read_text() for path in linked)
            for name in re.findall(r'`(?!model)(\w+(?:\.\w+)?)`', cell) if linked else ():
                words = name.split('.')
                assert all(re.search(rf'(?:class|def) {word}\b|\b{word}:', code) for word in words), f'{name}: {row}'
                tried += 1
    assert tried > 8
