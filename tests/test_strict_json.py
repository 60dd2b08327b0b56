"""JSON without NaN, ours and what mmengine writes for us."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mmengine
import numpy as np
import pytest
import torch
from mmengine.hooks import LoggerHook

from cmmasksd.registry import VISUALIZERS
from cmmasksd.strict_json import to_json

NAN, INF = float('nan'), float('inf')
CONTENT = dict(a=NAN, b=[1, INF, (2.5, -INF)], c=dict(d=np.float32('nan'), e=np.float64(0.5)), f='NaN', g=None, h=True)
EXPECTED = dict(a=None, b=[1, None, [2.5, None]], c=dict(d=None, e=0.5), f='NaN', g=None, h=True)


def read(text: str) -> Any:
    """As a strict reader does."""

    def refuse(name: str) -> None:
        raise AssertionError(f'{name} is no JSON')

    return json.loads(text, parse_constant=refuse)


def test_what_is_not_finite_is_null() -> None:
    assert read(to_json(CONTENT)) == EXPECTED
    assert to_json([1], indent=1) == '[\n 1\n]'


def test_mmengine_writes_it_so(tmp_path: Path) -> None:
    mmengine.dump(dict(CONTENT, array=np.array([NAN, 1])), tmp_path / 'dumped.json')
    assert read((tmp_path / 'dumped.json').read_text()) == dict(EXPECTED, array=[None, 1])
    assert read(mmengine.dump(CONTENT, file_format='json')) == EXPECTED
    assert mmengine.load(tmp_path / 'dumped.json')['c'] == EXPECTED['c']


def test_a_run_logs_it_so(tmp_path: Path) -> None:
    """Scalars of the visualizer's backend, and what the logger hook leaves of a test."""
    visualizer = VISUALIZERS.build(
        dict(
            type='ReferringVisualizer',
            name='strict',
            vis_backends=[dict(type='LocalVisBackend')],
            save_dir=str(tmp_path),
        )
    )
    visualizer.add_scalars(dict(loss=NAN, grad_norm=INF, mIoU=50.0), step=3)
    visualizer.add_scalar('loss', torch.tensor(NAN), step=4)
    lines = [read(line) for line in next(tmp_path.rglob('scalars.json')).read_text().splitlines()]
    assert lines == [dict(loss=None, grad_norm=None, mIoU=50.0, step=3), dict(loss=None, step=4)]
    mmengine.dump(LoggerHook._process_tags({'mIoU_deranged': NAN}), tmp_path / 'metrics.json')
    assert read((tmp_path / 'metrics.json').read_text()) == {'mIoU_deranged': None}


def test_a_value_that_json_cannot_hold_still_raises() -> None:
    with pytest.raises(TypeError):
        to_json({'a': object()})
