"""Letterbox and flip."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import InterpolationMode, resize

from cmmasksd.datasets.transforms import (
    FlipWithSentence,
    LetterboxResize,
    LoadReferringMasks,
    SelectSentences,
    StretchPicture,
)
from cmmasksd.datasets.transforms.geometry import BORDER, swap_sides
from cmmasksd.structures import Letterbox

SIZES = [
    ((480, 640), (416, 416)),
    ((640, 427), (96, 96)),
    ((50, 300), (96, 128)),
    ((96, 128), (96, 128)),
    ((7, 5), (64, 64)),
    ((1, 400), (64, 64)),
]


def disc(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return ((rows + 0.5) / height - 0.5) ** 2 + ((columns + 0.5) / width - 0.4) ** 2 < 0.1


@pytest.mark.parametrize(('original', 'size'), SIZES)
def test_picture_border_and_record(original, size):
    image = np.full((*original, 3), 200, np.uint8)
    results = LetterboxResize(size).transform(dict(img=image))
    letterbox = results['letterbox']
    assert letterbox == Letterbox.fit(original, size)
    placed = results['img']
    assert placed.shape == (*size, 3) and placed.dtype == np.uint8
    inside = np.zeros(size, bool)
    inside[letterbox.window] = True
    assert (placed[inside] == 200).all() and (placed[~inside] == BORDER).all()
    assert 'masks' not in results


def test_the_border_is_clips_mean():
    assert BORDER == tuple(round(255 * mean) for mean in (0.48145466, 0.4578275, 0.40821073))


def test_a_picture_that_fits_is_untouched():
    image = np.random.default_rng(0).integers(0, 255, (60, 100, 3), dtype=np.uint8)
    results = LetterboxResize((100, 100)).transform(dict(img=image))
    assert np.array_equal(results['img'][results['letterbox'].window], image)


@pytest.mark.parametrize(('original', 'size'), SIZES[:4])
def test_masks_become_floats_and_come_back(original, size):
    masks = np.stack([disc(*original), ~disc(*original)])
    results = LetterboxResize(size).transform(dict(img=np.zeros((*original, 3), np.uint8), masks=masks))
    placed = results['masks']
    assert placed.shape == (2, *size) and placed.dtype == np.float32 and placed.min() >= 0 and placed.max() == 1
    back = results['letterbox'].undo(torch.from_numpy(placed)).numpy() > 0.5
    union, intersection = (back | masks).sum((1, 2)), (back & masks).sum((1, 2))
    assert (intersection / union > 0.93).all()
    outside = np.ones(size, bool)
    outside[results['letterbox'].window] = False
    assert (placed[:, outside] == 0).all()


def test_pictures_are_resized_cubically_and_masks_linearly():
    """Beside an edge cubic resizing overshoots; linear resizing stays between the values."""
    image = np.full((20, 30, 3), 60, np.uint8)
    image[:, 15:] = 200
    masks = image[None, ..., 0] == 200
    results = LetterboxResize((60, 90)).transform(dict(img=image, masks=masks))
    assert results['img'].min() < 55 and results['img'].max() > 205
    assert results['masks'].min() == 0 and results['masks'].max() == 1
    assert set(np.unique(results['masks'])) - {0, 1}


def test_masks_keep_the_pictures_size_for_evaluation():
    masks = disc(50, 80)[None]
    results = LetterboxResize((64, 64), resize_masks=False).transform(
        dict(img=np.zeros((50, 80, 3), np.uint8), masks=masks)
    )
    assert results['masks'] is masks and results['img'].shape == (64, 64, 3)


@pytest.mark.parametrize(
    'size', [(0, 5), (5, -1), 480, (480,), (1, 2, 3), (480.5, 480), ('480', '480'), '48', None, (True, 5)]
)
def test_impossible_sizes(size):
    with pytest.raises(ValueError, match='height, width'):
        LetterboxResize(size)


@pytest.mark.parametrize(
    ('sentence', 'mirrored'),
    [
        ('left zebra', 'right zebra'),
        ('the Leftmost man, RIGHT of the left-hand car', 'the Rightmost man, LEFT of the right-hand car'),
        ('bright light, upright, leftover on the copyright', 'bright light, upright, leftover on the copyright'),
        ("far left's", "far right's"),
        ('bottomleft / topright corner', 'bottomright / topleft corner'),
        ('lft guy', 'right guy'),
        ('rt lt blue', 'left lt blue'),
        ('man in front', 'man in front'),
        ('righthand side', 'lefthand side'),
        ('', ''),
    ],
)
def test_sides_are_swapped(sentence, mirrored):
    assert swap_sides(sentence) == mirrored


def record(seed: int = 0) -> dict:
    image = np.random.default_rng(1).integers(0, 255, (6, 9, 3), dtype=np.uint8)
    return dict(img=image, masks=disc(6, 9)[None], texts=['left one', 'a dog'], rng=np.random.default_rng(seed))


@pytest.mark.parametrize('prob', [0, 1])
def test_flip_always_and_never(prob):
    before, after = record(), FlipWithSentence(prob).transform(record())
    step = -1 if prob else 1
    assert np.array_equal(after['img'], before['img'][:, ::step])
    assert np.array_equal(after['masks'], before['masks'][..., ::step])
    assert after['texts'] == (['right one', 'a dog'] if prob else before['texts'])
    assert after['img'].flags.c_contiguous and after['masks'].flags.c_contiguous


def test_flip_draws_from_the_records_generator():
    flipped = [FlipWithSentence(0.3).transform(record(seed))['texts'][0] == 'right one' for seed in range(400)]
    assert flipped == [np.random.default_rng(seed).random() < 0.3 for seed in range(400)]
    assert 80 < sum(flipped) < 160


def test_a_draw_of_zero_flips_nothing_at_probability_zero():
    least = SimpleNamespace(random=lambda: 0.0)
    assert FlipWithSentence(0).transform({**record(), 'rng': least})['texts'][0] == 'left one'
    assert FlipWithSentence(0.1).transform({**record(), 'rng': least})['texts'][0] == 'right one'


@pytest.mark.parametrize(('key', 'later'), [('letterbox', 'LetterboxResize'), ('input_ids', 'TokenizeExpressions')])
def test_flip_comes_first(key, later):
    with pytest.raises(ValueError, match=f'before {later}'):
        FlipWithSentence().transform({**record(), key: None})


@pytest.mark.parametrize('prob', [1.5, -0.1, float('nan'), '0.5', None, True])
def test_impossible_probability(prob):
    with pytest.raises(ValueError, match='FlipWithSentence.prob must be a number in .0, 1., got '):
        FlipWithSentence(prob)


@pytest.mark.parametrize('scale', [0.25, 0.5, 0.8, 1])
def test_a_smaller_scale_leaves_a_wider_border_and_comes_back(scale):
    masks = disc(48, 80)[None]
    image = np.where(masks[0, ..., None], 250, 10).astype(np.uint8).repeat(3, axis=2)
    results = LetterboxResize((96, 96), scale=scale).transform(dict(img=image, masks=masks))
    letterbox = results['letterbox']
    assert letterbox.scaled == (round(0.6 * 96 * scale), round(96 * scale)) and letterbox.size == (96, 96)
    assert all(abs(2 * offset + inner - 96) <= 1 for offset, inner in zip(letterbox.offset, letterbox.scaled))
    assert (results['img'][0] == BORDER).all() and results['masks'].shape == (1, 96, 96)
    back = letterbox.undo(torch.from_numpy(results['masks'])).numpy() > 0.5
    assert (back & masks).sum() / (back | masks).sum() > 0.93 - 0.1 * (1 - scale)


@pytest.mark.parametrize('scale', [0, -1, 1.5, float('nan'), '1', None, True])
def test_impossible_scales(scale):
    with pytest.raises(ValueError, match=r'LetterboxResize.scale .* a number in \(0, 1\], got '):
        LetterboxResize((96, 96), scale=scale)


PARTED = [
    (dict(img=np.zeros((6, 9, 3), np.float32)), 'the picture is float32'),
    (dict(img=np.zeros((6, 9), np.uint8)), r'of shape \(6, 9\)'),
    (dict(img=np.zeros((3, 9, 3), np.uint8)), 'flipped or resized, and not its masks'),
    (dict(flip_direction='horizontal'), 'flipped or resized, and not its masks and sentences: write .*AugmentPicture'),
]


@pytest.mark.parametrize(('changes', 'message'), PARTED)
def test_a_picture_that_was_parted_from_its_masks_is_refused(changes, message):
    with pytest.raises(ValueError, match=f'zebra.jpg: .*{message}'):
        LetterboxResize((64, 64)).transform({**record(), 'img_path': 'zebra.jpg', **changes})


def test_a_flip_says_so_and_wants_its_sentences():
    flip = FlipWithSentence(1)
    once = flip.transform(record())
    assert once['flip'] is True and flip.transform(once)['flip'] is False
    assert FlipWithSentence(0).transform(record())['flip'] is False
    sample = record()
    del sample['texts']
    with pytest.raises(ValueError, match='after SelectSentences'):
        flip.transform(sample)


@pytest.mark.parametrize(
    ('step', 'named'),
    [(LoadReferringMasks(), 'put LoadReferringMasks'), (SelectSentences('all'), 'put SelectSentences')],
)
def test_what_is_read_after_a_flip_would_not_be_mirrored(step, named):
    with pytest.raises(ValueError, match=f'zebra.jpg: the picture is mirrored .*{named} before the flip'):
        step.transform(dict(record(), img_path='zebra.jpg', flip=True))


def test_a_stretched_picture_fills_the_input_and_comes_back():
    masks = disc(40, 80)[None]
    step = LetterboxResize((64, 64), keep_ratio=False)
    results = step.transform(dict(img=np.full((40, 80, 3), 90, np.uint8), masks=masks))
    letterbox = results['letterbox']
    assert letterbox == Letterbox((40, 80), (64, 64), (0, 0), (64, 64))
    assert (results['img'] == 90).all()
    back = letterbox.undo(torch.from_numpy(results['masks'])).numpy() > 0.5
    assert back.shape == masks.shape and (back & masks).sum() / (back | masks).sum() > 0.93


@pytest.mark.parametrize('size', [(24, 24), (96, 160)])
def test_pillows_resampling_is_torchvisions(size):
    image = np.random.default_rng(0).integers(0, 255, (60, 100, 3), dtype=np.uint8)
    step = LetterboxResize(size, keep_ratio=False, resampling='pillow')
    expected = resize(Image.fromarray(image), list(size))
    assert np.array_equal(step.transform(dict(img=image))['img'], np.asarray(expected))
    assert not np.array_equal(LetterboxResize(size, keep_ratio=False).transform(dict(img=image))['img'], expected)


def test_a_sample_of_another_size():
    image = np.random.default_rng(0).integers(0, 255, (60, 100, 3), dtype=np.uint8)
    masks = np.stack([disc(60, 100), ~disc(60, 100)])
    results = StretchPicture((48, 48)).transform(dict(img=image, masks=masks, height=60, width=100))
    assert (results['height'], results['width']) == (48, 48)
    assert np.array_equal(results['img'], np.asarray(resize(Image.fromarray(image), [48, 48])))
    for found, mask in zip(results['masks'], masks, strict=True):
        expected = resize(Image.fromarray(mask.astype(np.uint8)), [48, 48], InterpolationMode.NEAREST)
        assert found.dtype == bool and np.array_equal(found, np.asarray(expected) == 1)
    results = LetterboxResize((48, 48), resize_masks=False, keep_ratio=False).transform(results)
    assert results['letterbox'].original == (48, 48)
    with pytest.raises(ValueError, match='before LetterboxResize'):
        StretchPicture((48, 48)).transform(results)


def test_a_sample_without_masks_can_be_stretched():
    results = StretchPicture((8, 6)).transform(
        dict(img=np.zeros((60, 100, 3), np.uint8), masks=np.zeros((0, 60, 100), bool))
    )
    assert results['masks'].shape == (0, 8, 6) and results['img'].shape == (8, 6, 3)
    assert 'masks' not in StretchPicture((8, 6)).transform(dict(img=np.zeros((60, 100, 3), np.uint8)))


@pytest.mark.parametrize('size', [480, (480,), (0, 480), (480.0, 480)])
def test_a_size_that_is_none_is_refused(size):
    for kind in (StretchPicture, LetterboxResize):
        with pytest.raises(ValueError, match=f'{kind.__name__}.size must be'):
            kind(size)
    with pytest.raises(ValueError, match="'opencv' or 'pillow'"):
        LetterboxResize((64, 64), resampling='bicubic')
