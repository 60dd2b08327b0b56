"""Transforms of other projects: the picture changes, masks and sentences follow, or it is said why they cannot."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cmmasksd.datasets.transforms import AugmentPicture, LetterboxResize, augmentation, build_pipeline

HEIGHT, WIDTH = 48, 64
RED = (250, 10, 20)  # RGB


@pytest.fixture(scope='module')
def mmseg_transforms() -> None:
    try:
        import mmseg.datasets.transforms  # noqa: F401
    except ImportError as error:
        pytest.skip(f"mmseg's transforms need mmcv's compiled ops, which are absent here ({error})")


def record(seed: int = 0, refs: int = 1, **changes: Any) -> dict[str, Any]:
    """A noisy grey picture with a red object on the left, further refs below it."""
    image = np.random.default_rng(1).integers(90, 160, (HEIGHT, WIDTH, 1), dtype=np.uint8).repeat(3, axis=2)
    masks = np.zeros((refs, HEIGHT, WIDTH), bool)
    for number, mask in enumerate(masks):
        mask[8 + 6 * number : 24 + 6 * number, 4:20] = True
    image[masks[0]] = RED
    sample = dict(img=image, masks=masks, texts=['left thing', 'the top one'], mask_index=np.zeros(2, int))
    place = dict(img_path='zebra.jpg', refs=[dict(ref_id=7)] * refs, height=HEIGHT, width=WIDTH)
    return {**sample, **place, 'rng': np.random.default_rng(seed), **changes}


def red(image: np.ndarray) -> np.ndarray:
    return (image == RED).all(axis=2)


class Own:
    """A transform of a third project, as a function of the dict."""

    def __init__(self, change: Callable[[dict], Any]) -> None:
        self.change = change

    def __call__(self, results: dict) -> Any:
        return self.change(results)


def test_a_flip_takes_masks_and_sentences_along() -> None:
    (step,) = build_pipeline([dict(type='mmcv.RandomFlip', prob=1.0)])
    flipped = step(record(refs=2))
    assert np.array_equal(flipped['img'], record()['img'][:, ::-1])
    assert np.array_equal(flipped['masks'], record(refs=2)['masks'][..., ::-1])
    assert flipped['texts'] == ['right thing', 'the top one'] and flipped['flip'] is True
    twice = step(flipped)
    assert twice['texts'] == record()['texts'] and twice['flip'] is False


def test_nothing_drawn_changes_nothing() -> None:
    before, (step,) = record(), build_pipeline([dict(type='mmcv.RandomFlip', prob=0.0)])
    after = step(record())
    assert np.array_equal(after['img'], before['img']) and after['texts'] == before['texts'] and 'flip' not in after


@pytest.mark.parametrize('flips', [1, 2, 3])
def test_flips_in_a_row_are_counted(flips: int) -> None:
    after = AugmentPicture([dict(type='mmcv.RandomFlip', prob=1.0)] * flips)(record())
    assert after['texts'][0] == ('right thing' if flips % 2 else 'left thing')
    assert np.array_equal(after['masks'][0], red(after['img']))


def test_draws_follow_the_records_generator() -> None:
    (step,) = build_pipeline([dict(type='mmcv.RandomFlip', prob=0.5)])
    drawn = []
    for _ in range(2):
        random.seed()  # wherever the global generators stand
        drawn.append([step(record(seed))['texts'][0] for seed in range(40)])
    assert drawn[0] == drawn[1] and 8 < drawn[0].count('right thing') < 32


MOVED = [
    (dict(type='mmcv.Resize', scale=(96, 72)), (72, 96)),
    (dict(type='mmcv.RandomResize', scale=(128, 96), ratio_range=(1.0, 1.0), keep_ratio=True), (96, 128)),
    (dict(type='mmcv.Pad', size=(80, 70)), (70, 80)),
    (dict(type='mmcv.CenterCrop', crop_size=(60, 40)), (40, 60)),
]


@pytest.mark.parametrize(('config', 'size'), MOVED)
def test_sizes_change_together(config: dict[str, Any], size: tuple[int, int]) -> None:
    after = build_pipeline([config])[0](record())
    assert after['img'].shape == (*size, 3) and after['masks'].shape == (1, *size)
    assert (after['height'], after['width']) == size and after['texts'] == record()['texts']
    found = np.abs(after['img'].astype(int) - RED).max(axis=2) < 60
    assert (found & after['masks'][0]).sum() / (found | after['masks'][0]).sum() > 0.85


def test_pictures_are_handed_over_as_bgr() -> None:
    seen = []
    AugmentPicture([Own(lambda results: seen.append(results['img'].copy()) or results)])(record())
    assert np.array_equal(seen[0][..., ::-1], record()['img'])


def test_grey_and_float_pictures_become_three_channels_of_bytes() -> None:
    grey = build_pipeline([dict(type='mmcv.RandomGrayscale', prob=1.0)])[0](record())['img']
    assert grey.shape == (HEIGHT, WIDTH, 3) and grey.dtype == np.uint8 and (grey[..., 0] == grey[..., 2]).all()
    brighter = Own(lambda results: dict(results, img=results['img'].astype(np.float32) + 20.4))
    assert np.array_equal(
        AugmentPicture([brighter])(record())['img'], np.minimum(record()['img'].astype(int) + 20, 255).astype(np.uint8)
    )


REFUSED = [
    (dict(type='mmcv.Normalize', mean=[123.0] * 3, std=[58.0] * 3), 'data_preprocessor normalises'),
    (dict(type='mmcv.LoadAnnotations'), r'mmcv.LoadAnnotations failed \(KeyError'),
    (dict(type='mmcv.ImageToTensor', keys=['img']), 'gave no dict with a picture'),
    (dict(type='mmcv.RandomFlip', prob=1.0, swap_seg_labels=[(1, 2)]), 'leave swap_seg_labels out'),
    (Own(lambda results: None), 'gave no dict with a picture'),
    (Own(lambda results: dict(results, img=np.ascontiguousarray(results['img'][:, ::-1]))), 'flipped the picture and'),
    (Own(lambda results: dict(results, img=results['img'][::-1].copy())), 'flipped the picture and not gt_seg_map'),
    (Own(lambda results: dict(results, img=results['img'][:20])), 'with different sizes'),
    (Own(lambda results: dict(results, img=results['img'][..., :2])), r'of shape \(48, 64, 2\)'),
    (Own(lambda results: dict(results, img=results['img'] * np.nan)), 'pictures go from 0 to 255'),
    (
        Own(lambda results: dict(results, img=results['img'][::-1], gt_seg_map=results['gt_seg_map'][::-1])),
        'turned the picture upside down',
    ),
]


@pytest.mark.parametrize(('step', 'message'), REFUSED)
def test_what_cannot_be_carried_is_refused_with_the_record(step: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        AugmentPicture([step])(record())
    assert 'zebra.jpg (ref 7)' in str(caught.value)


@pytest.mark.parametrize('direction', ['vertical', 'diagonal', ['horizontal', 'vertical']])
def test_flips_upside_down_are_refused_at_once(direction: Any) -> None:
    flip = dict(type='mmcv.RandomFlip', prob=0.5, direction=direction)
    for steps in ([flip], [dict(type='mmcv.RandomApply', transforms=[flip])]):
        with pytest.raises(ValueError, match="write direction='horizontal'"):
            build_pipeline(steps)


PLACES = [
    (dict(letterbox=None), 'must stand before LetterboxResize'),
    (dict(input_ids=None), 'must stand before TokenizeExpressions'),
]


@pytest.mark.parametrize(('changes', 'message'), PLACES)
def test_it_comes_before_the_letterbox_and_the_tokens(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f'mmcv.RandomFlip {message}'):
        build_pipeline([dict(type='mmcv.RandomFlip', prob=1.0)])[0](record(**changes))


def test_other_loaders_do_not_serve() -> None:
    with pytest.raises(ValueError, match='mmcv.LoadImageFromFile must stand after LoadReferringImage'):
        build_pipeline([dict(type='mmcv.LoadImageFromFile')])[0](dict(img_path='zebra.jpg'))


@pytest.mark.parametrize('missing', ['masks', 'texts'])
def test_a_picture_moves_after_its_masks_and_sentences_are_there(missing: str) -> None:
    sample = record()
    del sample[missing]
    with pytest.raises(ValueError, match='after SelectSentences and LoadReferringMasks'):
        AugmentPicture([dict(type='mmcv.RandomFlip', prob=1.0)])(sample)
    assert AugmentPicture([dict(type='mmcv.RandomGrayscale', prob=1.0)])(sample)['img'].shape == (HEIGHT, WIDTH, 3)


def test_a_strangers_picture_may_change_its_colours() -> None:
    after = AugmentPicture([dict(type='mmcv.RandomGrayscale', prob=1.0)])(dict(img=record()['img'], texts=['a']))
    assert (after['img'][..., 0] == after['img'][..., 1]).all()


@pytest.mark.parametrize('transforms', [[], (), dict(type='mmcv.RandomFlip', prob=0.5)])
def test_it_wants_a_list(transforms: Any) -> None:
    with pytest.raises(ValueError, match='must be a list'):
        AugmentPicture(transforms)


def crop_to(columns: slice) -> Own:
    def crop(results: dict) -> dict:
        return dict(results, img=results['img'][:, columns], gt_seg_map=results['gt_seg_map'][:, columns])

    return Own(crop)


def test_a_crop_without_the_object_is_drawn_anew() -> None:
    def crop(results: dict) -> dict:
        return crop_to(np.s_[40:] if random.random() < 0.5 else np.s_[:40])(results)

    for seed in range(20):
        after = AugmentPicture([Own(crop)])(record(seed))
        assert after['masks'].shape == (1, HEIGHT, 40) and after['masks'].any()


def test_a_turned_picture_is_drawn_anew() -> None:
    def turn(results: dict) -> dict:
        upside = -1 if random.random() < 0.5 else 1
        return dict(results, img=results['img'][::upside].copy(), gt_seg_map=results['gt_seg_map'][::upside].copy())

    for seed in range(10):
        assert np.array_equal(AugmentPicture([Own(turn)])(record(seed))['masks'], record()['masks'])


def test_a_picture_that_always_loses_its_object_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(augmentation, 'print_log', lambda message, **_: said.append(message))
    augmentation._say_that_objects_are_lost.cache_clear()
    for _ in range(2):
        after = AugmentPicture([crop_to(np.s_[40:])])(record())
        assert np.array_equal(after['img'], record()['img']) and np.array_equal(after['masks'], record()['masks'])
    assert len(said) == 1 and '10 times in a row' in said[0]
    augmentation._say_that_objects_are_lost.cache_clear()


MIXED = dict(
    type='mmcv.RandomApply',
    transforms=[dict(type='cmmasksd.FlipWithSentence', prob=1), dict(type='mmcv.RandomGrayscale', prob=0.5)],
    prob=0.5,
)


def test_holders_of_ours_and_theirs_draw_from_the_record_too() -> None:
    (step,) = build_pipeline([MIXED])
    drawn = []
    for _ in range(2):
        random.seed()
        samples = [step(record(seed)) for seed in range(40)]
        for sample in samples:
            assert (sample['texts'][0] == 'right thing') == sample.get('flip', False)
            assert sample['masks'][0][:, -20:].any() == sample.get('flip', False)
        drawn.append(
            [(sample['texts'][0], (sample['img'][..., 0] == sample['img'][..., 1]).all()) for sample in samples]
        )
    assert drawn[0] == drawn[1] and len(set(drawn[0])) == 3


def test_theirs_inside_test_time_augmentation_follow_too() -> None:
    views = [
        [dict(type='mmcv.RandomFlip', prob=prob) for prob in (0.0, 1.0)],
        [dict(type='cmmasksd.LetterboxResize', size=(64, 64))],
    ]
    config = dict(type='mmcv.TestTimeAug', transforms=views)
    (step,) = build_pipeline([config])
    given = step(record())
    assert given['texts'] == [['left thing', 'the top one'], ['right thing', 'the top one']]
    assert isinstance(config['transforms'][0][0], dict)  # a config is not written into


def test_ours_stay_what_they_are() -> None:
    steps = build_pipeline([dict(type='LetterboxResize', size=(64, 64)), Own(lambda results: results)])
    assert [type(step) for step in steps] == [LetterboxResize, Own]


def test_a_project_that_cannot_be_imported_is_told_apart_from_a_missing_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def build(config: dict[str, Any]) -> None:
        raise ImportError("No module named 'mmcv._ext'")

    monkeypatch.setattr(augmentation.TRANSFORMS, 'build', build)
    with pytest.raises(ImportError, match='need mmcv with compiled ops; those of the maintained forks'):
        build_pipeline([dict(type='mmseg.PhotoMetricDistortion')])
    with pytest.raises(ImportError, match="^No module named 'mmcv._ext'$"):
        build_pipeline([dict(type='TokenizeExpressions')])


OF_MMSEG = [
    dict(type='mmseg.PhotoMetricDistortion'),
    dict(type='mmseg.RandomFlip', prob=0.5),
    dict(type='mmseg.RandomCutOut', prob=1.0, n_holes=3, cutout_shape=(6, 6)),
    dict(type='mmseg.RandomCutOut', prob=1.0, n_holes=3, cutout_shape=(6, 6), seg_fill_in=255),
    dict(type='mmseg.RandomRotate', prob=1.0, degree=20.0),
    dict(type='mmseg.RandomRotFlip', rotate_prob=1.0, flip_prob=0.0),
    dict(type='mmseg.RandomCrop', crop_size=(30, 30), cat_max_ratio=0.75),
    dict(type='mmseg.ResizeShortestEdge', scale=40, max_size=200),
    dict(type='mmseg.ResizeToMultiple', size_divisor=32),
    dict(type='mmseg.RGB2Gray', out_channels=1),
    dict(type='mmseg.CLAHE'),
    dict(type='mmseg.AdjustGamma'),
]


@pytest.mark.usefixtures('mmseg_transforms')
@pytest.mark.parametrize('config', OF_MMSEG, ids=lambda config: config['type'])
def test_mmsegs_transforms_serve(config: dict[str, Any]) -> None:
    (step,) = build_pipeline([config])
    for seed in range(8):
        after, again = step(record(seed, refs=2)), step(record(seed, refs=2))
        assert after['img'].dtype == np.uint8 and after['img'].shape[2] == 3
        assert after['masks'].shape == (2, *after['img'].shape[:2]) and after['masks'].any(axis=(1, 2)).all()
        assert np.array_equal(after['img'], again['img']) and np.array_equal(after['masks'], again['masks'])
        assert (after['texts'][0] == 'right thing') == after.get('flip', False)
        LetterboxResize((64, 64))(after)


@pytest.mark.usefixtures('mmseg_transforms')
@pytest.mark.parametrize(
    'config', [dict(type='mmseg.SegRescale', scale_factor=0.5), dict(type='mmseg.RandomMosaic', prob=1.0)]
)
def test_those_that_cannot_serve_say_so(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f'{config["type"]} (failed|left)'):
        build_pipeline([config])[0](record())
