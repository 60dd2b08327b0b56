"""Which panels are drawn, where they go, and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from cmmasksd.engine import ReferringVisualizationHook


class Split:
    """A data set of so many images."""

    split = 'testA'

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length


@pytest.fixture
def picture(tmp_path: Path) -> str:
    path = str(tmp_path / 'red.png')
    cv2.imwrite(path, np.full((4, 6, 3), (0, 0, 255), np.uint8))
    return path


def make_runner(folder: Path, length: int, world_size: int = 1) -> SimpleNamespace:
    drawn: list[tuple[str, np.ndarray, str | None]] = []
    said: list[str] = []
    return SimpleNamespace(
        rank=0,
        world_size=world_size,  # no iter: mmengine would build the training loop for it
        log_dir=str(folder),
        test_dataloader=SimpleNamespace(dataset=Split(length)),
        visualizer=SimpleNamespace(
            add_datasample=lambda name, image, sample, out_file, step: drawn.append((name, image, out_file))
        ),
        logger=SimpleNamespace(info=said.append),
        drawn=drawn,
        said=said,
    )


def evaluate(hook: ReferringVisualizationHook, runner: SimpleNamespace, pictures: Sequence[str]) -> None:
    """One image a batch but for the first two."""
    samples = [SimpleNamespace(img_path=path) for path in pictures]
    hook.before_test_epoch(runner)
    for number, batch in enumerate([samples[:2], *([sample] for sample in samples[2:])]):
        hook.after_test_iter(runner, number, outputs=batch)
    hook.after_test_epoch(runner)


def test_panels_are_the_pictures_in_their_own_colours(tmp_path: Path, picture: str) -> None:
    runner = make_runner(tmp_path, 1)
    evaluate(ReferringVisualizationHook(draw=True, out_dir='panels'), runner, [picture])
    ((name, image, out_file),) = runner.drawn
    assert (name, out_file) == ('testA_red', str(tmp_path / 'panels' / 'testA' / 'red.png'))
    assert image.shape == (4, 6, 3) and (image == (255, 0, 0)).all()


def test_pictures_of_one_name_do_not_overwrite_each_other(tmp_path: Path, picture: str) -> None:
    runner = make_runner(tmp_path, 3)
    evaluate(ReferringVisualizationHook(draw=True, out_dir='panels'), runner, [picture] * 3)
    assert [Path(out_file).name for _, _, out_file in runner.drawn] == ['red.png', 'red_2.png', 'red_3.png']


OF_HOW_MANY = [
    ({}, 7, 1, 7, 'Panels of 7 of 7 images of testA went to the visualizer.'),
    ({}, 100, 1, 100, 'Panels of 100 of 100 images of testA went to the visualizer.'),
    ({}, 101, 1, 51, 'Panels of 51 of 101 images of testA went to the visualizer (one in 2, at most 100; all by'),
    (
        dict(interval=20),
        45,
        1,
        3,
        '3 of 45 images of testA went to the visualizer (one in 20, at most 100; all by',
    ),
    (dict(interval=2, max_images=2), 9, 1, 2, '2 of 9 images of testA went to the visualizer (one in 2, at most 2;'),
    (dict(interval=1, max_images=None), 300, 1, 300, '300 of 300 images of testA went to the visualizer.'),
    (
        dict(interval=3, max_images=None),
        300,
        1,
        100,
        '100 of 300 images of testA went to the visualizer (one in 3;',
    ),
    (dict(max_images=None), 300, 1, 300, '300 of 300 images'),
    (
        dict(max_images=10),
        50,
        2,
        9,
        '9 of 25 images of testA that this one of 2 processes evaluated went to',
    ),
]


@pytest.mark.parametrize(('options', 'images', 'processes', 'drawn', 'said'), OF_HOW_MANY)
def test_it_says_how_many_of_how_many(
    tmp_path: Path, picture: str, options: dict[str, Any], images: int, processes: int, drawn: int, said: str
) -> None:
    runner = make_runner(tmp_path, images, processes)
    hook = ReferringVisualizationHook(draw=True, **options)
    for _ in range(2):  # each epoch counts anew
        evaluate(hook, runner, [picture] * (images // processes))
    assert len(runner.drawn) == 2 * drawn
    assert len(runner.said) == 2 and all(said in message and len(message) < 400 for message in runner.said)


def test_the_folder_is_named(tmp_path: Path, picture: str) -> None:
    runner = make_runner(tmp_path, 3)
    evaluate(ReferringVisualizationHook(draw=True, out_dir='panels'), runner, [picture] * 3)
    assert f'went to {tmp_path}/panels/testA.' in runner.said[0]


def test_nothing_is_drawn_or_said_unasked(tmp_path: Path, picture: str) -> None:
    runner = make_runner(tmp_path, 3)
    evaluate(ReferringVisualizationHook(), runner, [picture] * 3)
    runner.rank = 1
    evaluate(ReferringVisualizationHook(draw=True), runner, [picture] * 3)
    assert not runner.drawn and not runner.said


@pytest.mark.parametrize('name', ['interval', 'max_images'])
@pytest.mark.parametrize('value', [0, -1, 2.5, '2', True])
def test_impossible_numbers(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f'visualization.{name} must be a whole number of at least 1, or None, got '):
        ReferringVisualizationHook(**{name: value})


def test_a_mirrored_picture_is_drawn_as_its_masks_lie(tmp_path: Path) -> None:
    path = str(tmp_path / 'half.png')
    cv2.imwrite(path, np.repeat([[[0], [255]]], 3, axis=2).astype(np.uint8))
    runner = make_runner(tmp_path, 2)
    hook = ReferringVisualizationHook(draw=True)
    hook.before_test_epoch(runner)
    hook.after_test_iter(runner, 0, outputs=[SimpleNamespace(img_path=path, flip=flip) for flip in (False, True)])
    assert [image[0, :, 0].tolist() for _, image, _ in runner.drawn] == [[0, 255], [255, 0]]


def test_windows_are_asked_of_the_visualizer(tmp_path: Path, picture: str) -> None:
    runner, asked = make_runner(tmp_path, 1), []
    runner.visualizer.add_datasample = lambda *positions, **options: asked.append(options)
    evaluate(ReferringVisualizationHook(draw=True, show=True, wait_time=0.5), runner, [picture])
    evaluate(ReferringVisualizationHook(draw=True, show=False), runner, [picture])
    assert [(options.get('show'), options.get('wait_time')) for options in asked] == [(True, 0.5), (None, None)]


@pytest.mark.parametrize('value', [-1, float('nan'), '2', True, None])
def test_impossible_waits(value: Any) -> None:
    with pytest.raises(ValueError, match='visualization.wait_time must be seconds, at least 0, got '):
        ReferringVisualizationHook(wait_time=value)
