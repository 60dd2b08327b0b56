"""Transforms of mmcv, mmseg and others on our samples: the picture changes, masks and sentences follow."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.logging import print_log
from mmengine.registry import DefaultScope

from cmmasksd.datasets.transforms.geometry import swap_sides
from cmmasksd.datasets.transforms.global_draws import global_draws
from cmmasksd.datasets.transforms.loading import name_record
from cmmasksd.datasets.transforms.region_map import RegionMap
from cmmasksd.registry import SCOPE, TRANSFORMS

TRIES = 10
OPENMMLAB = ('mmcv', 'mmdet', 'mmengine', 'mmpretrain', 'mmseg')
HOLDERS = ('transforms', 'subroutines')  # where OpenMMLab's transforms keep those that they run
LATER = dict(letterbox='LetterboxResize', input_ids='TokenizeExpressions')

Transform = Callable[[dict], Any]


class View(NamedTuple):
    """A picture, (height, width, 3) uint8 BGR, with its label map, (height, width)."""

    picture: np.ndarray
    labels: np.ndarray


@TRANSFORMS.register_module()
class AugmentPicture(BaseTransform):
    """Runs transforms of other projects on the picture; the masks go along, and the sentences follow a mirrored
    picture. Comes after the picture, the sentences and the masks, before the letterbox and the tokens.

    The transforms get what OpenMMLab's loaders give: ``img`` (height, width, 3) uint8 in the order BGR, ``gt_seg_map``
    (height, width) uint8 with ``seg_fields``, ``img_shape``, ``ori_shape`` and ``img_path``. Whatever they draw, from
    Python's, numpy's or torch's global generator, follows ``results['rng']``. A grey picture gets its three channels
    back; one of floats is rounded and clipped to 0..255. A horizontal flip, by whichever transform, swaps left and
    right in the sentences as :class:`~cmmasksd.datasets.transforms.FlipWithSentence` does. Draws that turn the
    picture upside down or on its side, or leave nothing of an object, are drawn anew, up to ten times; then the picture
    stays as it is, and a warning says so once, or, where each draw turned it, an error.

    Args:
        transforms: transforms or their configs, such as ``[dict(type='mmseg.PhotoMetricDistortion'),
            dict(type='mmcv.RandomFlip', prob=0.5)]``.

    Raises:
        ValueError: no transform, one that turns the picture upside down, that changes the picture and not its masks, or
            that does not give back a picture of 8 bits; a place in the pipeline where it cannot stand.
        ImportError: the other project cannot be imported.
    """

    def __init__(self, transforms: Sequence[dict[str, Any] | Transform]) -> None:
        if isinstance(transforms, dict) or not len(transforms):
            raise ValueError(
                "AugmentPicture.transforms must be a list, such as [dict(type='mmcv.RandomFlip', prob=.5)]."
            )
        self.transforms = [build_step(step) if isinstance(step, dict) else step for step in transforms]
        for step in self.transforms:
            for inner in walk(step):
                _refuse_upside_down(inner)

    def transform(self, results: dict) -> dict:
        """Changes ``img``, ``masks``, ``texts``, ``height`` and ``width``; sets ``flip`` where the picture is
        mirrored.
        """
        self._check_place(results)
        masks = results.get('masks')
        try:
            regions = RegionMap.of(np.empty((0, *results['img'].shape[:2]), bool) if masks is None else masks)
        except ValueError as error:
            raise ValueError(f'{name_record(results)}: {error}; leave AugmentPicture out.') from error
        rng = results.get('rng') or np.random.default_rng(0)  # a stranger's picture has none, and nothing to draw for
        turned = 0
        for _ in range(TRIES):
            view = self._run(results, regions, int(rng.integers(2**32)))
            if np.array_equal(view.labels, regions.labels):
                return dict(results, img=_swap_channels(view.picture))
            moved = self._move(results, regions, view)
            if moved is None:
                turned += 1
            elif moved['masks'].any(axis=(1, 2)).all():
                return moved
        if turned == TRIES:
            raise ValueError(
                f'{name_record(results)}: {self._names()} turned the picture upside down or on its side, {TRIES} times '
                "in a row, which its sentences cannot follow: flip with direction='horizontal', and rotate by less "
                'than 45 degrees.'
            )
        _say_that_objects_are_lost()
        return results

    def _names(self) -> str:
        return ', '.join(name_of(step) for step in self.transforms)

    def _check_place(self, results: dict) -> None:
        names = self._names()
        if 'img' not in results:
            raise ValueError(
                f'{names} must stand after LoadReferringImage in the pipeline, which reads pictures as RGB; other '
                'loaders do not serve.'
            )
        for key, later in LATER.items():
            if key in results:
                raise ValueError(f'{names} must stand before {later} in the pipeline.')

    def _run(self, results: dict, regions: RegionMap, seed: int) -> View:
        view = View(_swap_channels(results['img']), regions.labels.copy())
        given = dict(img_path=results.get('img_path'), ori_shape=view.picture.shape[:2], seg_fields=['gt_seg_map'])
        seeded = [each for step in self.transforms for inner in walk(step) for each in _own_generators(inner)]
        with global_draws(seed, seeded):
            for step in self.transforms:
                given |= dict(img=view.picture, gt_seg_map=view.labels, img_shape=view.picture.shape[:2])
                given = _call(step, given, results)
                view = _check(step, view, given, results)
        return view

    def _move(self, results: dict, regions: RegionMap, view: View) -> dict | None:
        """The sample with a picture that has another size or lies otherwise than before; None: it is turned."""
        if 'masks' not in results or 'texts' not in results:
            raise ValueError(
                f'{name_record(results)}: {self._names()} moved the picture, and masks and sentences that are not '
                'there yet could not follow: put it after SelectSentences and LoadReferringMasks. A picture without '
                'annotations can be changed in its colours alone.'
            )
        direction = regions.direction(view.labels)
        if direction == 'turned':
            return None
        height, width = view.picture.shape[:2]
        moved = dict(results, img=_swap_channels(view.picture), height=height, width=width)
        moved['masks'] = regions.masks(view.labels)
        if direction == 'mirrored':
            moved['texts'] = [swap_sides(text) for text in results['texts']]
            moved['flip'] = not results.get('flip', False)
        return moved


def build_step(config: dict[str, Any]) -> Any:
    """Builds a transform of any project.

    Raises:
        ImportError: its project cannot be imported.
    """
    current = DefaultScope.get_current_instance()  # where there is none, transforms inside of others are ours too
    try:
        with DefaultScope.overwrite_default_scope(current.scope_name if current else SCOPE):
            return TRANSFORMS.build(copy.deepcopy(config))  # TestTimeAug writes into its own
    except ImportError as error:
        if str(config.get('type')).partition('.')[0] not in OPENMMLAB:
            raise
        raise ImportError(
            f"'{config.get('type')}' cannot be imported here ({error}). Official mmseg's transforms need mmcv with "
            "compiled ops; those of the maintained forks (pip install 'cmmasksd[onedl]') do not, nor do mmcv's."
        ) from error


def walk(step: Any) -> Iterator[Any]:
    """A transform and all that it holds (``RandomApply``, ``RandomChoice``, ``Compose``, ``TestTimeAug`` ...)."""
    yield step
    for inner in held_by(step):
        yield from walk(inner)


def held_by(step: Any) -> list[Any]:
    """The transforms that a transform runs, one level down."""
    held = [getattr(step, name, None) for name in HOLDERS]
    return [
        inner for each in held for inner in (each if isinstance(each, (list, tuple)) else [each]) if callable(inner)
    ]


def name_of(step: Any) -> str:
    """``mmcv.RandomFlip``, as a config writes it."""
    return f'{type(step).__module__.partition(".")[0]}.{type(step).__name__}'


def _own_generators(step: Any) -> list[Any]:
    return [each for each in (step, *getattr(step, '__dict__', {}).values()) if hasattr(each, 'set_random_seed')]


def _refuse_upside_down(step: Any) -> None:
    direction = getattr(step, 'direction', None)
    if set([direction] if isinstance(direction, str) else direction or ()) & {'vertical', 'diagonal'}:
        raise ValueError(
            f'{name_of(step)}(direction={direction!r}) turns pictures upside down, which their sentences cannot follow '
            '("the top shelf"): write direction=\'horizontal\'.'
        )


def _call(step: Transform, given: dict, results: dict) -> dict:
    try:
        after = step(given)
    except Exception as error:
        raise ValueError(
            f'{name_record(results)}: {name_of(step)} failed ({type(error).__name__}: {error}). It is given img, '
            'gt_seg_map, seg_fields, img_shape, ori_shape and img_path, of one picture; a transform that needs more '
            'cannot serve here.'
        ) from error
    if not isinstance(after, dict) or not isinstance(after.get('img'), np.ndarray):
        raise ValueError(f'{name_record(results)}: {name_of(step)} gave no dict with a picture (img) back.')
    return after


def _check(step: Transform, before: View, given: dict, results: dict) -> View:
    """What a transform made, if the label map went along with the picture."""
    picture = _as_bytes(step, before.picture, given['img'], results)
    labels: Any = given.get('gt_seg_map')
    fault = None
    if not isinstance(labels, np.ndarray) or labels.shape != picture.shape[:2]:
        fault = 'left the picture and gt_seg_map, its masks, with different sizes'
    elif given.get('swap_seg_labels'):
        fault = 'swapped labels of gt_seg_map, which holds masks here: leave swap_seg_labels out'
    elif np.array_equal(labels, before.labels) and _is_flipped(before.picture, picture):
        fault = 'flipped the picture and not gt_seg_map, its masks'
    if fault:
        raise ValueError(f'{name_record(results)}: {name_of(step)} {fault}. Masks and picture would part.')
    return View(picture, labels)


def _as_bytes(step: Transform, before: np.ndarray, picture: np.ndarray, results: dict) -> np.ndarray:
    """(height, width, 3) uint8 of what may be grey, or floats."""
    if picture.ndim == 2:
        picture = picture[..., None]
    if picture.ndim == 3 and picture.shape[2] == 1:
        picture = picture.repeat(3, axis=2)
    if picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise ValueError(
            f'{name_record(results)}: {name_of(step)} made a picture of shape {picture.shape}, not (height, width, 3).'
        )
    if picture.dtype == np.uint8:
        return picture
    if not np.isfinite(picture).all() or 8 * np.ptp(picture) < np.ptp(before):
        raise ValueError(
            f'{name_record(results)}: {name_of(step)} made a picture of {picture.dtype} from {picture.min():.3g} to '
            f"{picture.max():.3g}, but pictures go from 0 to 255 here: the model's data_preprocessor normalises them."
        )
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _is_flipped(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether a picture is the other one mirrored, in whichever direction, and not the same."""
    if after is before or after.shape != before.shape or np.array_equal(after, before):
        return False
    return any(
        np.array_equal(after[0], flipped[0]) and np.array_equal(after, flipped)
        for flipped in (before[:, ::-1], before[::-1], before[::-1, ::-1])
    )


def _swap_channels(picture: np.ndarray) -> np.ndarray:
    """RGB to BGR, or back."""
    return cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)


@cache
def _say_that_objects_are_lost() -> None:
    """Runs once per process, being cached."""
    print_log(
        f'AugmentPicture left nothing of an object {TRIES} times in a row, and the picture as it is; this is said '
        'once. Larger crops, or rarer ones, lose fewer.',
        logger='current',
        level=logging.WARNING,
    )
