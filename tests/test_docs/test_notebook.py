"""The notebook, run from its first cell to its last, with few pictures and steps."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import pytest

from tests.test_docs.code_blocks import ROOT

nbformat = pytest.importorskip('nbformat', reason='needs nbclient: pip install -r requirements/tests.txt')
nbclient = pytest.importorskip('nbclient', reason='needs nbclient: pip install -r requirements/tests.txt')
NOTEBOOK = ROOT / 'docs/notebooks/ask_a_picture.ipynb'
SIZES = 'PICTURES, STEPS = 2000, 1500'


def outputs(notebook: object) -> list[list[str]]:
    """What each cell of code left: the kinds of its outputs."""
    cells = [cell for cell in notebook.cells if cell.cell_type == 'code']  # type: ignore[attr-defined]
    return [sorted({kind for output in cell.outputs for kind in output.get('data', {})}) for cell in cells]


@pytest.mark.slow
def test_it_runs_and_shows_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = filter(None, [str(ROOT), os.environ.get('PYTHONPATH')])
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(paths))
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    monkeypatch.setenv('TMPDIR', str(tmp_path))
    kept = nbformat.read(NOTEBOOK, as_version=4)
    run = copy.deepcopy(kept)
    first = next(cell for cell in run.cells if cell.cell_type == 'code')
    assert SIZES in first.source
    first.source = first.source.replace(SIZES, 'PICTURES, STEPS = 40, 6')
    nbclient.NotebookClient(run, timeout=300, resources=dict(metadata=dict(path=str(tmp_path)))).execute()
    assert outputs(run) == outputs(kept)
    assert any('image/png' in kinds for kinds in outputs(run))


def test_what_is_kept_was_left_by_these_cells_in_order() -> None:
    kept = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(kept)
    counts = [cell.execution_count for cell in kept.cells if cell.cell_type == 'code']
    assert counts == list(range(1, len(counts) + 1)) and len(counts) > 5
    assert NOTEBOOK.stat().st_size < 600_000
    assert not [place for place in ('/root/', '/home/', '.venv') if place in NOTEBOOK.read_text()]
