"""What a perfect model would score, on a small RefShapes set."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_tools.running import CONFIG, run_tool

pytestmark = pytest.mark.slow


def test_the_area_pair_loses_less_than_criss(refshapes_root: Path) -> None:
    root = f'test_dataloader.dataset.data_root={refshapes_root}'
    table = run_tool('tools/analysis_tools/mask_ceiling.py', CONFIG, '--split', 'testA', '--cfg-options', root).stdout
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in table.splitlines() if '|' in line]
    assert rows[0] == ['mask_alignment', 'threshold', 'mIoU', 'Pr@0.9', 'masks']
    scores = {(alignment, threshold): float(miou) for alignment, threshold, miou, _, _ in rows[1:]}
    assert set(scores) == {(alignment, threshold) for alignment in ('area', 'cris') for threshold in ('0.35', '0.5')}
    assert scores['area', '0.35'] > 85 and scores['area', '0.5'] > 95
    assert all(scores['cris', threshold] < scores['area', threshold] - 5 for threshold in ('0.35', '0.5'))
    assert all(int(row[-1]) > 5 for row in rows[1:])
