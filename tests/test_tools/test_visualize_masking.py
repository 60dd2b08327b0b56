"""What branches mask and answer, watched and drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cmmasksd.apis import ReferringInferencer
from cmmasksd.structures import Letterbox
from tests.forking import finish, start, tool
from tests.test_tools.running import ROOT
from tests.untrained import MODEL, make_run

TOOL = 'tools/analysis_tools/visualize_masking.py'
SAY = ['the left square', 'a circle']


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / 'tools/analysis_tools'))


@pytest.fixture(scope='module')
def inferencer() -> ReferringInferencer:
    torch.manual_seed(0)
    return ReferringInferencer(MODEL, device='cpu')


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)


def test_a_pass_is_watched(inferencer: ReferringInferencer) -> None:
    from masking.watching import watch, words_of

    prepared = inferencer.prepare(picture(), SAY)
    seen = watch(inferencer.model, prepared)
    assert seen.patches['lmvsd'].shape == (2, 8, 8) and set(seen.patches) == {'lmvsd'}
    assert seen.patches['lmvsd'].sum(axis=(1, 2)).tolist() == [8, 8]  # a quarter of half of 64
    flat, masked = seen.correlation.reshape(2, -1), seen.patches['lmvsd'].reshape(2, -1)
    assert flat.min() == 0 and flat.max() == 1
    for scores, chosen in zip(flat, masked):  # of the upper half
        assert scores[chosen].min() >= np.sort(scores)[32]
    words = words_of(inferencer, prepared)
    assert [[word for word in row if word] for row in words] == [['the', 'left', 'square'], ['a', 'circle']]
    assert seen.words['vmlsd'].sum(axis=1).tolist() == [1, 1]
    for row, chosen in zip(words, seen.words['vmlsd']):
        assert row[int(chosen.argmax())]
    assert list(seen.probabilities) == ['main', 'lmvsd', 'vmlsd']
    (result,) = inferencer(picture(), SAY)
    np.testing.assert_allclose(seen.probabilities['main'], result.probabilities, atol=1e-5)
    for name in ('lmvsd', 'vmlsd'):
        assert seen.probabilities[name].shape == (2, 96, 128)
        assert not np.allclose(seen.probabilities[name], seen.probabilities['main'], atol=1e-6)


def test_branches_are_left_as_they_were(inferencer: ReferringInferencer) -> None:
    from masking.watching import recorded_choices

    with recorded_choices(inferencer.model):
        assert 'choose' in vars(inferencer.model.distillation['lmvsd'])
    assert all('choose' not in vars(branch) for branch in inferencer.model.distillation.values())


def test_patches_lie_where_the_picture_is() -> None:
    from masking.figures import to_picture

    letterbox = Letterbox.fit((50, 100), (80, 80))  # 40 x 80 inside, 20 below the top
    grid = np.zeros((4, 4))
    grid[1, 2] = 1  # rows 20 to 40 of the input: the upper half of the picture
    placed = to_picture(grid, letterbox)
    assert placed.shape == (50, 100) and placed.sum() == 25 * 25 and placed[:25, 50:75].all()


def test_masked_words_are_boxes() -> None:
    from masking.figures import sentence

    masked = {'vmlsd': np.array([False, True, False, False])}
    assert sentence(['', 'left', 'zebra', ''], masked) == 'left zebra\nVMLSD reads: □□□□ zebra'


def call(log: Path, *arguments: object) -> tuple[int, str]:
    (code,) = finish(start(tool, TOOL, *arguments, log=log))
    return code, log.read_text()


def test_figures_of_a_data_set_and_of_a_picture_of_one_s_own(refshapes_root: Path, tmp_path: Path) -> None:
    weights = make_run(tmp_path)
    data = f'test_dataloader.dataset.data_root={refshapes_root}'
    code, printed = call(
        tmp_path / 'a', MODEL, weights, '--out-dir', tmp_path / 'set', '--number', 1, '--cfg-options', data
    )
    drawn = list((tmp_path / 'set').glob('*.png'))
    assert code == 0 and drawn and f'{len(drawn)} figures are in' in printed, printed
    Image.fromarray(picture()).save(tmp_path / 'own.png')
    own = ['--image', tmp_path / 'own.png', '--say', SAY[0], '--say', SAY[1], '--out-dir', tmp_path / 'own']
    code, printed = call(tmp_path / 'b', MODEL, weights, *own)
    assert code == 0, printed
    assert sorted(path.name for path in (tmp_path / 'own').iterdir()) == ['own_0.png', 'own_1.png']
    with Image.open(drawn[0]) as of_set, Image.open(tmp_path / 'own/own_0.png') as of_own:
        assert of_set.width > of_own.width  # one more: ground truth


def test_what_cannot_be_drawn_is_said(tmp_path: Path) -> None:
    weights = make_run(tmp_path)
    code, printed = call(
        tmp_path / 'a',
        MODEL,
        weights,
        '--out-dir',
        tmp_path,
        '--cfg-options',
        'model.distillation=[]',
        '--image',
        'x',
        '--say',
        'y',
    )
    assert code and 'has no distillation branch' in printed
    code, printed = call(tmp_path / 'b', MODEL, weights, '--out-dir', tmp_path, '--say', 'y')
    assert code and '--image and --say go together' in printed
