"""The inferencer that is called as MMSegInferencer is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.infer import BaseInferencer
from PIL import Image

from cmmasksd.apis import MMReferringInferencer
from cmmasksd.visualization import can_open_windows

TEXTS = ['left zebra', 'the tree']
HEIGHT, WIDTH = 50, 70


@pytest.fixture(scope='module')
def inferencer() -> MMReferringInferencer:
    torch.manual_seed(0)
    return MMReferringInferencer('vit-tiny_refshapes', device='cpu', show_progress=False)


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    """Two files of one name in two folders."""
    paths = []
    for folder in ('one', 'two'):
        (tmp_path / folder).mkdir()
        pixels = np.random.default_rng(len(paths)).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / folder / 'zebras.png')
        paths.append(str(tmp_path / folder / 'zebras.png'))
    return paths


def test_one_picture(inferencer: MMReferringInferencer, pictures: list[str]) -> None:
    assert isinstance(inferencer, BaseInferencer)
    answer = inferencer(pictures[0], TEXTS)
    assert set(answer) == {'predictions', 'visualization'} and answer['visualization'] == []
    (expected,) = inferencer.inferencer(pictures[0], TEXTS)
    assert answer['predictions'].dtype == bool and np.array_equal(answer['predictions'], expected.masks)
    assert inferencer(np.asarray(Image.open(pictures[0])), 'left zebra')['predictions'].shape == (1, HEIGHT, WIDTH)


def test_several_pictures_and_what_is_written(
    inferencer: MMReferringInferencer, pictures: list[str], tmp_path: Path
) -> None:
    out = tmp_path / 'deep/out'
    answer = inferencer(pictures, [TEXTS, 'the tree'], batch_size=2, out_dir=out, return_vis=True)
    assert [len(masks) for masks in answer['predictions']] == [2, 1]
    assert all(panel.ndim == 3 and panel.dtype == np.uint8 for panel in answer['visualization'])
    written = {str(path.relative_to(out)) for path in out.rglob('*.*')}
    masks = {'pred/zebras_1.png', 'pred/zebras_2.png', 'pred/zebras-2_1.png'}
    assert written == masks | {'vis/zebras.png', 'vis/zebras-2.png', 'pred/zebras.json', 'pred/zebras-2.json'}
    assert np.array_equal(np.asarray(Image.open(out / 'pred/zebras_2.png')), answer['predictions'][0][1])
    assert np.array_equal(np.asarray(Image.open(out / 'vis/zebras.png')), answer['visualization'][0])


def test_a_sentence_is_asked_of_every_picture(
    inferencer: MMReferringInferencer, pictures: list[str], tmp_path: Path
) -> None:
    named = inferencer(pictures, 'the tree')['predictions']
    of_folders = inferencer(str(Path(pictures[0]).parent), 'the tree')['predictions']
    assert len(named) == 2 and np.array_equal(named[0], of_folders)
    inferencer(pictures, 'the tree', out_dir=tmp_path / 'out', img_out_dir='')
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['pred']


def test_data_samples(inferencer: MMReferringInferencer, pictures: list[str]) -> None:
    sample = inferencer(pictures[0], TEXTS, return_datasamples=True)
    assert sample.expressions.texts == TEXTS and sample.img_path == pictures[0]
    found = sample.predictions
    assert found.masks.shape == found.probabilities.shape == (2, HEIGHT, WIDTH) and found.scores.shape == (2,)
    assert torch.equal(found.masks, found.probabilities > inferencer.model.threshold)
    assert len(inferencer(pictures, TEXTS, return_datasamples=True)) == 2


def test_no_window_is_waited_for(inferencer: MMReferringInferencer, pictures: list[str]) -> None:
    assert not can_open_windows()
    assert len(inferencer(pictures[0], 'the tree', show=True)['predictions']) == 1


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(texts=['a', 'b', 'c']), '2 images need a list of 2'),
        (dict(texts=''), 'empty'),
        (dict(texts='a', batch_size=0), 'batch_size must be at least 1'),
        (dict(texts='a', with_labels=True), 'with_labels'),
        (dict(texts='a', opacity=2, return_vis=True), 'opacity'),
    ],
)
def test_wrong_calls(
    inferencer: MMReferringInferencer, pictures: list[str], arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        inferencer(pictures, **arguments)


def test_mmengine_lists_our_models() -> None:
    assert 'vit-b_refcoco' in MMReferringInferencer.list_models('cmmasksd')
