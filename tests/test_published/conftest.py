"""One published model, of which each test gets a copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cmmasksd.apis.publishing import write_published
from tests.published_models import make_config, save_checkpoint


@pytest.fixture(scope='session')
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    root, cfg = tmp_path_factory.mktemp('published'), make_config()
    save_checkpoint(cfg, root / 'epoch_1.pth')
    return write_published(root / 'epoch_1.pth', root / 'model', cfg)


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    """To be changed."""
    return Path(shutil.copytree(published, tmp_path / 'model'))
