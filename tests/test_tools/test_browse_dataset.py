"""What browse_dataset.py draws."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cmmasksd import visualization
from cmmasksd.datasets.refshapes import make_refshapes
from cmmasksd.shipped import open_config
from tests.test_tools.running import CONFIG, ROOT

TOOL = ROOT / 'tools/analysis_tools/browse_dataset.py'
Browse = Callable[..., None]


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('data')
    make_refshapes(root, num_images=40, seed=3)
    return root


@pytest.fixture
def browse(root: Path, monkeypatch: pytest.MonkeyPatch) -> Browse:
    def run(*words: object) -> None:
        roots = [f'{loader}_dataloader.dataset.data_root={root}' for loader in ('train', 'val', 'test')]
        monkeypatch.setattr(sys, 'argv', ['x', CONFIG, *map(str, words), '--cfg-options', *roots])
        runpy.run_path(str(TOOL), run_name='__main__')

    return run


@pytest.mark.parametrize('phase', ['train', 'val', 'test'])
def test_panels_of_the_first_items(browse: Browse, phase: str, tmp_path: Path) -> None:
    browse('--phase', phase, '--output-dir', tmp_path / 'panels', '--not-show', '--show-number', 2)
    panels = sorted((tmp_path / 'panels').glob('*.png'))
    assert [panel.name[:7] for panel in panels] == ['000000_', '000001_']
    assert cv2.imread(str(panels[0])).shape[1] > visualization.LONGER_SIDE


def items(root: Path, phase: str, extra: list[dict[str, Any]], count: int = 12) -> tuple[dict[str, Any], list[dict]]:
    """The tool's functions, and its items under another pipeline."""
    cfg = open_config(ROOT / CONFIG)
    dataset = cfg[f'{phase}_dataloader'].dataset
    dataset.data_root = str(root)
    dataset.pipeline[3:3] = extra
    tool = runpy.run_path(str(TOOL))
    return tool, [item for item, _ in zip(tool['items'](cfg, phase), range(count))]


def test_the_original_stands_beside_what_was_made_of_it(root: Path) -> None:
    tool, found = items(root, 'train', [dict(type='mmcv.RandomFlip', prob=0.5)])
    flips = [item['data_samples'].flip for item in found if 'flip' in item['data_samples']]
    assert 0 < len(flips) < 12 and all(flips)
    for item in found:
        picture, texts, masks = item['original']
        shown, shown_texts, shown_masks = tool['as_shown'](item)
        window = item['data_samples'].letterbox.window
        mirrored = item['data_samples'].get('flip', False)
        assert shown.shape == (128, 128, 3) and picture.shape[:2] == masks.shape[1:]
        inside = cv2.resize(picture[:, ::-1] if mirrored else picture, shown[window].shape[1::-1])
        assert np.abs(inside.astype(int) - shown[window]).mean() < 4
        where = np.argwhere(shown_masks[0, window[0], window[1]] > 0.5).mean(axis=0) / shown[window].shape[:2]
        expected = np.argwhere(masks[0]).mean(axis=0) / masks.shape[1:]
        expected[1] = 1 - expected[1] if mirrored else expected[1]
        assert np.abs(where - expected).max() < 0.02
        assert (texts == shown_texts) or mirrored


def test_it_draws_what_training_draws(root: Path) -> None:
    once, again = (items(root, 'train', [dict(type='mmcv.RandomFlip', prob=0.5)])[1] for _ in range(2))
    assert [item['data_samples'].expressions.texts for item in once] == [
        item['data_samples'].expressions.texts for item in again
    ]


@pytest.mark.parametrize(('mode', 'tiles'), [('concat', 2), ('original', 2), ('transformed', 2)])
def test_modes(root: Path, mode: str, tiles: int) -> None:
    tool, (item,) = items(root, 'val', [], count=1)
    panel = tool['draw'](item, mode)
    assert panel.dtype == np.uint8 and panel.shape[1] > tiles * 200


def test_windows(browse: Browse, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, float]] = []
    monkeypatch.setattr(visualization, 'can_open_windows', lambda: True)
    monkeypatch.setattr(
        'mmengine.visualization.Visualizer.show',
        lambda self, panel, win_name, wait_time: shown.append((win_name[:6], wait_time)),
    )
    browse('--show-number', 2, '--show-interval', 0.5)
    assert shown == [('000000', 0.5), ('000001', 0.5)]


def test_where_nothing_could_be_seen_it_says_so(browse: Browse, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match='no window can be opened here; give --output-dir'):
        browse()
    with pytest.raises(SystemExit):
        browse('--not-show')
    assert '--not-show needs --output-dir' in capsys.readouterr().err


def test_a_pipeline_without_masks_is_refused(root: Path) -> None:
    cfg = open_config(ROOT / CONFIG)
    dataset = cfg.train_dataloader.dataset
    dataset.data_root = str(root)
    del dataset.pipeline[2]
    with pytest.raises(ValueError, match='it needs LoadReferringImage, SelectSentences and LoadReferringMasks'):
        next(runpy.run_path(str(TOOL))['items'](cfg, 'train'))
