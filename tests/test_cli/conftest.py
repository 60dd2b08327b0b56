from __future__ import annotations

from pathlib import Path

import pytest

from tests.untrained import make_run


@pytest.fixture(scope='session')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp('run'))
