"""Which model is served when none is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cmmasksd.web.models import find_model


def leave(path: Path, age: int) -> Path:
    """A run's checkpoint of some age, with the copy of its config."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    (path.parent / 'config.py').touch()
    os.utime(path, (10**9 - age, 10**9 - age))
    return path


def test_the_newest_of_the_quick_start_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    leave(tmp_path / 'work_dirs/mine/best_mIoU_epoch_9.pth', age=0)
    assert find_model().weights == 'work_dirs/mine/best_mIoU_epoch_9.pth'
    leave(tmp_path / 'work_dirs/quickstart/best_mIoU_epoch_1.pth', age=3)
    leave(tmp_path / 'work_dirs/quickstart/best_mIoU_epoch_2.pth', age=2)
    leave(tmp_path / 'work_dirs/quickstart/epoch_3.pth', age=1)
    found = find_model()
    assert found.weights == 'work_dirs/quickstart/best_mIoU_epoch_2.pth'
    assert found.config == 'work_dirs/quickstart/config.py'
    assert found.name == 'quickstart/best_mIoU_epoch_2.pth'


def test_without_a_model_one_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match='bash tools/quickstart.sh'):
        find_model()
    with pytest.raises(FileNotFoundError, match='absent.pth: no such file'):
        find_model('absent.pth')


def test_a_config_is_asked_for_where_there_is_not_exactly_one(tmp_path: Path) -> None:
    weights = leave(tmp_path / 'run/best.pth', age=0)
    assert find_model(str(weights)).config == str(tmp_path / 'run/config.py')
    (tmp_path / 'run/other.py').touch()
    with pytest.raises(ValueError, match='2 configs lie beside .*--config'):
        find_model(str(weights))
    assert find_model(str(weights), 'vit-b_refcoco').config == 'vit-b_refcoco'
