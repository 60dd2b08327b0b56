"""The table of what mixes with what: counted, and no empty cell without a reason."""

from __future__ import annotations

import re
from importlib import import_module

import pytest

from tests.test_tools.running import run_tool

pytestmark = pytest.mark.slow
# mmseg's PointHead samples by a compiled op; a softmax over one class learns nothing; GPT reads one way alone
REFUSED = {'mmseg.PointHead', 'mmseg.TverskyLoss', 'transformers GPT-2'}


def check(*parts: str, at_least: int) -> None:
    printed = run_tool('tools/analysis_tools/compatibility.py', '--only', *parts).stdout
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in printed.splitlines() if line.startswith('|')]
    assert rows[0] == ['part', 'is', 'builds', 'trains', 'predicts', 'resumes']
    refused = {}
    for part, name, *cells in rows[1:]:
        assert part in parts and all(cells), (name, cells)
        reasons = [cell for cell in cells if cell != 'yes' and not cell.startswith('see "')]
        assert cells == ['yes'] * 4 or len(reasons) == 1, (name, cells)
        if reasons:
            refused[name] = reasons[0]
    assert set(refused) <= REFUSED, refused
    good, every = map(int, re.search(r'(\d+) of (\d+) combinations', printed).groups())
    assert every == len(rows) - 1 >= at_least and good == every - len(refused)


def test_text_encoders_need_no_mmseg() -> None:
    check('text encoder', at_least=12)


@pytest.mark.parametrize(('part', 'at_least'), [('image encoder', 20), ('decode head', 6), ('loss', 6)])
def test_the_table_is_full_or_says_why(part: str, at_least: int) -> None:
    try:
        import_module('mmseg.models')
    except ImportError as error:
        pytest.skip(f"mmseg.models needs mmcv's compiled ops, which are absent here ({error})")
    check(part, at_least=at_least)
