"""Which folder a config's run works in."""

from __future__ import annotations

from pathlib import Path

import pytest

from cmmasksd.work_dirs import LAST, find_work_dir


@pytest.mark.parametrize(
    ('settings', 'has_run', 'expected'),
    [
        ({}, False, 'work_dirs/tiny'),
        (dict(work_dir='runs/a'), False, 'runs/a'),
        (dict(work_dir='/another/folder'), True, '{folder}'),
        ({}, True, '{folder}'),
    ],
)
def test_work_dir_of_a_config(settings: dict[str, str], has_run: bool, expected: str, tmp_path: Path) -> None:
    if has_run:
        (tmp_path / LAST).write_text('epoch_1.pth')
    assert find_work_dir(tmp_path / 'tiny.py', settings) == expected.format(folder=tmp_path)
