"""Which model is served when none is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cmmasksd.web.newest import find_newest


def test_the_newest_best_checkpoint_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match='bash tools/quickstart.sh'):
        find_newest()
    names = ['quickstart/best_mIoU_epoch_1.pth', 'quickstart/best_mIoU_epoch_2.pth', 'quickstart/epoch_3.pth']
    for age, name in enumerate(names):
        path = tmp_path / 'work_dirs' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (age, age))
    assert find_newest() == 'work_dirs/quickstart/best_mIoU_epoch_2.pth'
    mine = tmp_path / 'work_dirs/mine/best_mIoU_epoch_1.pth'
    mine.parent.mkdir()
    mine.touch()
    assert find_newest() == 'work_dirs/mine/best_mIoU_epoch_1.pth'
