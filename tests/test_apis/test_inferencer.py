"""ReferringInferencer on one's own pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from PIL import Image

from cmmasksd.apis import ReferringInferencer
from cmmasksd.shipped import open_config

ROOT = Path(__file__).resolve().parents[2]
HEIGHT, WIDTH = 50, 70


@pytest.fixture(scope='module')
def inferencer() -> ReferringInferencer:
    return ReferringInferencer(ROOT / 'configs/cm_masksd/vit-tiny_refshapes.py', device='cpu')


@pytest.fixture(scope='module')
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def test_one_expression_and_several(inferencer: ReferringInferencer, picture: np.ndarray) -> None:
    (single,) = inferencer(picture, 'left zebra')
    (several,) = inferencer(picture, ['left zebra', 'the tree'])
    assert single.expressions == ['left zebra'] and several.expressions == ['left zebra', 'the tree']
    assert several.masks.shape == several.probabilities.shape == (2, HEIGHT, WIDTH)
    assert several.masks.dtype == bool and several.probabilities.dtype == np.float32
    assert np.array_equal(several.masks, several.probabilities > 0.35)
    assert np.allclose(several.probabilities[0], single.probabilities[0], atol=1e-5)
    assert 0 <= several.probabilities.min() and several.probabilities.max() <= 1
    assert several.draw().ndim == 3


def test_path_pil_and_array_are_alike(inferencer: ReferringInferencer, picture: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / 'picture.png'
    Image.fromarray(picture).save(path)
    forms = [picture, Image.fromarray(picture), path, str(path)]
    results = inferencer(forms, ['red'] * len(forms))
    assert len(results) == 4
    for result in results:
        assert np.array_equal(result.probabilities, results[0].probabilities)
        assert np.array_equal(result.image, picture)


def test_lists_of_images_take_lists_of_expressions(inferencer: ReferringInferencer, picture: np.ndarray) -> None:
    results = inferencer([picture, picture[:, :40]], [['a', 'b', 'c'], 'd'])
    assert [result.masks.shape for result in results] == [(3, HEIGHT, WIDTH), (1, HEIGHT, 40)]


def test_a_phone_picture_is_turned(inferencer: ReferringInferencer, picture: np.ndarray, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn
    Image.fromarray(picture).save(tmp_path / 'turned.jpg', exif=exif)
    for form in (tmp_path / 'turned.jpg', Image.open(tmp_path / 'turned.jpg')):
        assert inferencer(form, 'red')[0].masks.shape == (1, WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ('expressions', 'message'),
    [([], 'at least one expression'), ('   ', 'empty'), (['red', ''], 'empty')],
)
def test_nothing_asked(inferencer: ReferringInferencer, picture: np.ndarray, expressions: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inferencer(picture, expressions)


def test_lists_of_unequal_length(inferencer: ReferringInferencer, picture: np.ndarray) -> None:
    for expressions in (['red'], 'red', ['a', 'b', 'c']):
        with pytest.raises(ValueError, match='2 images need a list of 2'):
            inferencer([picture, picture], expressions)


def test_no_picture(inferencer: ReferringInferencer, tmp_path: Path) -> None:
    text = tmp_path / 'notes.jpg'
    text.write_text('no picture')
    with pytest.raises(ValueError, match='notes.jpg'):
        inferencer(text, 'red')
    with pytest.raises(FileNotFoundError, match='absent.jpg'):
        inferencer(tmp_path / 'absent.jpg', 'red')
    with pytest.raises(TypeError, match='uint8'):
        inferencer(np.zeros((5, 5), np.float32), 'red')


def test_another_projects_transform_sees_the_picture_as_it_does_in_a_data_set(picture: np.ndarray) -> None:
    cfg = open_config('vit-tiny_refshapes')
    plain = ReferringInferencer(cfg, device='cpu').prepare(picture, 'red').inputs
    cfg.test_dataloader.dataset.pipeline.insert(1, dict(type='mmcv.RandomGrayscale', prob=1.0, keep_channels=True))
    grey = ReferringInferencer(cfg, device='cpu').prepare(picture, 'red')
    assert (plain[0] != plain[1]).any()
    assert grey.inputs.shape == plain.shape and (grey.image == picture).all()
    rows, columns = grey.letterbox.window
    inside = grey.inputs[:, rows, columns]
    assert (inside[0] == inside[1]).all() and (inside[1] == inside[2]).all()


def test_another_projects_scope_does_not_matter(picture: np.ndarray) -> None:
    DefaultScope.get_instance('other', scope_name='mmengine')
    assert ReferringInferencer('vit-tiny_refshapes', device='cpu')(picture, 'red')[0].masks.shape == (1, HEIGHT, WIDTH)
