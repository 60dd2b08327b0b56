"""The table of what mixes with what: counted, and no empty cell without a reason."""

from __future__ import annotations

import re
from importlib import import_module

import pytest

from tests.test_tools.running import run_tool

pytestmark = pytest.mark.slow


def test_the_table_is_full_or_says_why() -> None:
    try:
        import_module('mmseg.models')
    except ImportError as error:
        pytest.skip(f"mmseg.models needs mmcv's compiled ops, which are absent here ({error})")
    printed = run_tool('tools/analysis_tools/compatibility.py').stdout
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in printed.splitlines() if line.startswith('|')]
    assert rows[0] == ['part', 'is', 'builds', 'trains', 'predicts']
    refused = {}
    for _, name, *cells in rows[1:]:
        assert cells[0], name
        reasons = [cell for cell in cells if cell not in ('yes', '')]
        assert cells == ['yes'] * 3 or len(reasons) == 1, (name, cells)
        if reasons:
            refused[name] = reasons[0]
    # mmseg's PointHead samples by a compiled op; a softmax over one class learns nothing
    assert set(refused) <= {'mmseg.PointHead', 'mmseg.TverskyLoss'}, refused
    good, every = map(int, re.search(r'(\d+) of (\d+) combinations', printed).groups())
    assert every == len(rows) - 1 >= 30 and good == every - len(refused)
