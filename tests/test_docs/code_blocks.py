"""Blocks of Python and bash in Markdown, by Sybil, with the reason where one is not to be run.

``<!-- skip: REASON -->`` on the line above keeps a block from being run, ``<!-- skip all: REASON -->`` a whole page's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sybil.document import Document
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        ROOT / 'README.md',
        ROOT / 'CONTRIBUTING.md',
        *ROOT.glob('configs/**/README.md'),
        *(ROOT / 'docs').rglob('*.md'),
        *(ROOT / 'projects').rglob('*.md'),
    ]
)
FENCES = FencedCodeBlockLexer('python|bash')


class Block(NamedTuple):
    """One block: where it begins, what it says, and why it is not run (None: it is)."""

    page: Path
    line: int
    language: str
    source: str
    reason: str | None

    def __str__(self) -> str:
        return f'{self.page.relative_to(ROOT)}:{self.line}'


def read_blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page, in order."""
    document = Document(page.read_text(encoding='utf-8'), str(page))
    whole = re.search(r'^<!-- skip all: (.+) -->$', document.text, re.MULTILINE)
    for region in FENCES(document):
        before = document.text[: region.start]
        own = re.search(r'^<!-- skip: (.+) -->\n\Z', before, re.MULTILINE)
        reason = own or whole
        source = str(region.lexemes['source'])
        line = before.count('\n') + 1
        yield Block(page, line, region.lexemes['language'], source, reason.group(1) if reason else None)


BLOCKS = [block for page in PAGES for block in read_blocks(page)]
