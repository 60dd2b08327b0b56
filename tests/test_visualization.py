"""Panels: layout, captions of any kind, files and backends."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from mmseg.structures import SegDataSample

from cmmasksd import visualization
from cmmasksd.registry import VISUALIZERS
from cmmasksd.visualization import (
    GAP,
    GROUND_TRUTH_COLOR,
    HIT_COLOR,
    LINE_HEIGHT,
    LONGER_SIDE,
    OVER_COLOR,
    PREDICTION_COLOR,
    UNDER_COLOR,
    ReferringVisualizer,
    can_open_windows,
    draw_pair,
    draw_panel,
    write_picture,
)

HEIGHT, WIDTH = 60, 80
TILE_WIDTH, TILE_HEIGHT = LONGER_SIDE, LONGER_SIDE * HEIGHT // WIDTH
IMAGE = np.full((HEIGHT, WIDTH, 3), (200, 100, 0), np.uint8)
TRUTH = np.zeros((2, HEIGHT, WIDTH), bool)
TRUTH[:, 10:40, 10:40] = True
PREDICTION = np.zeros_like(TRUTH)
PREDICTION[0, 10:40, 25:55] = True


def make_sample(predicted: bool = True) -> SegDataSample:
    sample = SegDataSample()
    sample.expressions = InstanceData(texts=['left zebra', 'the tree'], masks=torch.from_numpy(TRUTH))
    if predicted:
        sample.predictions = InstanceData(masks=torch.from_numpy(PREDICTION))
    return sample


@pytest.mark.parametrize(
    ('kwargs', 'columns'),
    [
        ({}, 1),
        (dict(predictions=PREDICTION), 2),
        (dict(ground_truth=TRUTH), 2),
        (dict(predictions=PREDICTION, ground_truth=TRUTH), 3),
    ],
)
def test_one_row_per_expression_one_column_per_picture(kwargs, columns):
    panel = draw_panel(IMAGE, ['left zebra', 'the tree'], **kwargs)
    assert panel.dtype == np.uint8 and panel.shape[1] == columns * TILE_WIDTH + (columns - 1) * GAP
    one = draw_panel(IMAGE, ['left zebra'], **{key: masks[:1] for key, masks in kwargs.items()})
    assert TILE_HEIGHT < panel.shape[0] - one.shape[0] < TILE_HEIGHT + 40
    assert np.array_equal(panel[: one.shape[0]], one)


def test_probabilities_are_drawn_from_one_half_on():
    drawn = [draw_panel(IMAGE, ['left zebra'], np.where(TRUTH[:1], value, 0.0)) for value in (0.49, 0.5, 0.51)]
    nothing, everything = (draw_panel(IMAGE, ['left zebra'], TRUTH[:1] & masks) for masks in (False, True))
    assert [np.array_equal(panel, nothing) for panel in drawn] == [True, True, False]
    assert np.array_equal(drawn[2], everything)


def test_masks_lie_where_they_should():
    panel = draw_panel(IMAGE, ['left zebra'], PREDICTION[:1], TRUTH[:1])
    bottom = panel.shape[0] - GAP - TILE_HEIGHT
    scale = LONGER_SIDE / WIDTH

    def pixel(column: int, row: int, x: int) -> tuple:
        return tuple(panel[bottom + int(row * scale), column * (TILE_WIDTH + GAP) + int(x * scale)])

    predicted = tuple((np.array(PREDICTION_COLOR) + (200, 100, 0)) // 2)
    true = tuple((np.array(GROUND_TRUTH_COLOR) + (200, 100, 0)) // 2)
    assert [pixel(column, 25, 50) for column in range(3)] == [(200, 100, 0), predicted, (200, 100, 0)]
    assert [pixel(column, 25, 15) for column in range(3)] == [(200, 100, 0), (200, 100, 0), true]
    assert [pixel(column, 55, 70) for column in range(3)] == [(200, 100, 0)] * 3


def test_errors_are_told_apart_by_colour():
    panel = draw_panel(IMAGE, ['left zebra'], PREDICTION[:1], TRUTH[:1], opacity=1, errors=True)
    assert panel.shape[1] == 4 * TILE_WIDTH + 3 * GAP
    bottom, scale = panel.shape[0] - GAP - TILE_HEIGHT, LONGER_SIDE / WIDTH
    left = 3 * (TILE_WIDTH + GAP)
    colors = [tuple(panel[bottom + int(25 * scale), left + int(x * scale)]) for x in (5, 18, 32, 48, 70)]
    assert colors == [(200, 100, 0), UNDER_COLOR, HIT_COLOR, OVER_COLOR, (200, 100, 0)]
    legend = panel[:LINE_HEIGHT, left:].reshape(-1, 3).tolist()
    assert all(list(color) in legend for color in (HIT_COLOR, OVER_COLOR, UNDER_COLOR))


def test_errors_need_both_masks():
    assert np.array_equal(
        draw_panel(IMAGE, ['left zebra'], PREDICTION[:1], errors=True),
        draw_panel(IMAGE, ['left zebra'], PREDICTION[:1]),
    )


def test_tensors_and_probabilities():
    expected = draw_panel(IMAGE, ['a', 'b'], PREDICTION, TRUTH)
    assert np.array_equal(
        expected, draw_panel(IMAGE, ['a', 'b'], torch.from_numpy(PREDICTION), torch.from_numpy(TRUTH).float() * 0.9)
    )


@pytest.mark.parametrize(
    'text', ['左のシマウマ', 'зебра слева', '🦓 ☃', 'حمار', '', '\x00\n\t', '\ud800', 'x' * 500, 'very long ' * 200]
)
def test_any_text_can_be_drawn(text):
    panel = draw_panel(IMAGE, [text], PREDICTION[:1], TRUTH[:1])
    assert panel.shape[1] == 3 * TILE_WIDTH + 2 * GAP and panel.shape[0] < TILE_HEIGHT + 150


@pytest.mark.parametrize('shape', [(3, 400), (400, 3), (1, 1), (1500, 2000)])
def test_any_picture_can_be_drawn(shape):
    masks = np.ones((1, *shape), bool)
    panel = draw_panel(np.zeros((*shape, 3), np.uint8), ['left'], masks, masks)
    assert panel.ndim == 3 and panel.shape[1] <= 3 * LONGER_SIDE + 2 * GAP


def test_the_caption_tells_expressions_apart():
    assert not np.array_equal(draw_panel(IMAGE, ['left zebra']), draw_panel(IMAGE, ['right zebra']))


def test_panels_that_cannot_be():
    with pytest.raises(ValueError, match='at least one'):
        draw_panel(IMAGE, [])
    with pytest.raises(ValueError, match=r'prediction must .*\(1, 60, 80\).*\(2, 60, 80\)'):
        draw_panel(IMAGE, ['a'], PREDICTION)
    with pytest.raises(ValueError, match='ground truth must'):
        draw_panel(IMAGE, ['a', 'b'], ground_truth=TRUTH[:, 1:])


def test_files_and_backends(tmp_path):
    config = dict(
        type='ReferringVisualizer',
        name='test_files_and_backends',
        vis_backends=[dict(type='LocalVisBackend')],
        save_dir=str(tmp_path),
    )
    visualizer = VISUALIZERS.build(config)
    assert isinstance(visualizer, ReferringVisualizer)
    out_file = tmp_path / 'new' / 'folder' / 'panel.png'
    visualizer.add_datasample('val_1', IMAGE, make_sample(), out_file=str(out_file), step=3)
    written = cv2.cvtColor(cv2.imread(str(out_file)), cv2.COLOR_BGR2RGB)
    assert np.array_equal(written, draw_panel(IMAGE, ['left zebra', 'the tree'], PREDICTION, TRUTH, errors=True))
    assert len(list(tmp_path.rglob('vis_image/val_1_3.png'))) == 1


def test_a_name_with_folders_is_written_too(tmp_path):
    config = dict(
        type='ReferringVisualizer',
        name='test_a_name_with_folders',
        vis_backends=[dict(type='LocalVisBackend')],
        save_dir=str(tmp_path),
    )
    VISUALIZERS.build(config).add_datasample('val/COCO/1.jpg', IMAGE, make_sample(), step=3)
    assert [path.name for path in tmp_path.rglob('*.png')] == ['val_COCO_1.jpg_3.png']


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(OSError, match='file/panel.png: the panel cannot be written .*choose a folder that can'):
        write_picture(IMAGE, str(tmp_path / 'file' / 'panel.png'))


@pytest.mark.parametrize(
    ('predicted', 'draw_gt', 'draw_pred', 'columns'),
    [
        (True, True, True, 4),
        (True, False, True, 2),
        (True, True, False, 2),
        (False, True, True, 2),
        (True, False, False, 1),
    ],
)
def test_what_is_drawn(tmp_path, predicted, draw_gt, draw_pred, columns):
    out_file = str(tmp_path / 'panel.png')
    ReferringVisualizer().add_datasample(
        'a', IMAGE, make_sample(predicted), draw_gt=draw_gt, draw_pred=draw_pred, out_file=out_file
    )
    assert cv2.imread(out_file).shape[1] == columns * TILE_WIDTH + (columns - 1) * GAP


def test_an_unknown_format(tmp_path):
    with pytest.raises(ValueError, match='picture.xyz.*png'):
        write_picture(IMAGE, str(tmp_path / 'picture.xyz'))
    with pytest.raises(ValueError, match='png'):
        write_picture(IMAGE, str(tmp_path / 'picture'))


def test_a_pair_shows_each_picture_with_its_own_words_and_masks():
    shown = np.full((90, 90, 3), (0, 100, 200), np.uint8)
    masks = np.zeros((2, 90, 90), np.float32)
    masks[:, 50:80, 50:80] = 0.9
    panel = draw_pair((IMAGE, ['left zebra', 'the tree'], TRUTH), (shown, ['right zebra', 'the tree'], masks))
    assert panel.dtype == np.uint8 and panel.shape[1] == 2 * TILE_WIDTH + GAP
    left, right = panel[:, :TILE_WIDTH].astype(int), panel[:, TILE_WIDTH + GAP :].astype(int)
    plain = [
        (np.abs(part - color).sum(axis=2) == 0).sum() for part, color in ((left, IMAGE[0, 0]), (right, shown[0, 0]))
    ]
    assert plain[0] > 2 * 0.7 * TILE_WIDTH * TILE_HEIGHT and plain[1] > 2 * 0.7 * TILE_WIDTH**2
    one = draw_pair((IMAGE, ['left zebra'], TRUTH[:1]), (shown, ['right zebra'], masks[:1]))
    assert np.array_equal(panel[: one.shape[0]], one)


def test_a_pair_wants_masks_that_fit():
    with pytest.raises(ValueError, match='model must have the shape'):
        draw_pair((IMAGE, ['left zebra'], TRUTH[:1]), (IMAGE, ['right zebra'], TRUTH))


@pytest.mark.parametrize(
    ('backend', 'opens'), [('agg', False), ('TkAgg', True), ('Agg', False), ('module://inline', True)]
)
def test_where_no_window_can_be_opened_it_is_said_once_and_nothing_waits(backend, opens, monkeypatch):
    said, shown = [], []
    monkeypatch.setattr('matplotlib.pyplot.get_backend', lambda: backend)
    monkeypatch.setattr(visualization, 'print_log', lambda message, **_: said.append(message))
    monkeypatch.setattr(ReferringVisualizer, 'show', lambda self, panel, **options: shown.append(options))
    can_open_windows.cache_clear()
    visualizer = ReferringVisualizer()
    for _ in range(2):
        visualizer.add_datasample('zebra', IMAGE, make_sample(), show=True, wait_time=3)
    can_open_windows.cache_clear()
    assert shown == [dict(win_name='zebra', wait_time=3)] * 2 * opens
    assert len(said) == (not opens) and all('--show-dir' in message for message in said)
