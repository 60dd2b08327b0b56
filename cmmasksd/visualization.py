"""Panels to look at: picture, prediction and ground truth of every expression."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
import torch
from mmengine import fileio
from mmengine.dist import master_only
from mmengine.logging import print_log
from mmengine.structures import BaseDataElement
from mmengine.visualization import Visualizer
from PIL import Image, ImageDraw, ImageFont

from cmmasksd import strict_json  # noqa: F401  its import makes mmengine write JSON that every reader takes
from cmmasksd.registry import VISUALIZERS

Masks = np.ndarray | torch.Tensor
Color = tuple[int, int, int]

PREDICTION_COLOR: Color = (235, 52, 82)
GROUND_TRUTH_COLOR: Color = (24, 160, 88)
# told apart by people who are colour-blind too (Okabe and Ito's palette)
HIT_COLOR: Color = (0, 114, 178)
OVER_COLOR: Color = (213, 94, 0)
UNDER_COLOR: Color = (240, 228, 66)
PAPER: Color = (255, 255, 255)
INK: Color = (20, 20, 20)
OPACITY = 0.5
FAINT = 0.25  # where colours are to be seen
WITHOUT_WINDOWS = ('agg', 'cairo', 'pdf', 'pgf', 'ps', 'svg', 'template')  # matplotlib's backends that write files
LONGER_SIDE = 320
GAP = 6
FONT_SIZE = 14
LINE_HEIGHT = 20
MOST_LINES = 4


@cache
def _font() -> ImageFont.FreeTypeFont:
    """The fixed-width font that matplotlib brings: it knows more alphabets than Pillow's own. Characters it lacks come
    out as boxes.
    """
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / 'fonts/ttf/DejaVuSansMono.ttf'), FONT_SIZE)


def _to_bool(masks: Masks, name: str, shape: tuple[int, int, int]) -> np.ndarray:
    """Masks as (K, height, width) bool; probabilities become masks at one half."""
    array = masks.detach().cpu().numpy() if isinstance(masks, torch.Tensor) else np.asarray(masks)
    if array.shape != shape:
        raise ValueError(
            f'{name} must have the shape (K, height, width) = {shape} of the expressions and the picture, got '
            f'{array.shape}.'
        )
    return array if array.dtype == bool else array > 0.5


def _to_tile(picture: np.ndarray) -> np.ndarray:
    """Brings a picture's longer side to LONGER_SIDE."""
    scale = LONGER_SIDE / max(picture.shape[:2])
    height, width = (max(1, round(length * scale)) for length in picture.shape[:2])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def _overlay(tile: np.ndarray, mask: np.ndarray, color: Color, opacity: float) -> np.ndarray:
    """The tile with a translucent mask and its outline, to be seen on any background."""
    inside = _to_tile(mask.astype(np.uint8) * np.uint8(255)) > 127
    drawn = tile.copy()
    drawn[inside] = (1 - opacity) * tile[inside] + opacity * np.array(color)
    outlines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, outlines, -1, PAPER, 3)
    return cv2.drawContours(drawn, outlines, -1, color, 1)


def _caption(width: int, text: str, note: str = '', ink: Color = INK) -> np.ndarray:
    """A strip of text of the given width, in as many lines as it takes up to MOST_LINES; ``note`` stands at its right
    end.
    """
    room = width - 2 * GAP - int(_font().getlength(note + ' '))
    letters = max(len(' ...'), int(room / _font().getlength('m')))
    lines = textwrap.wrap(text, letters, max_lines=MOST_LINES, placeholder=' ...')
    strip = Image.new('RGB', (width, LINE_HEIGHT * max(1, len(lines))), PAPER)
    draw = ImageDraw.Draw(strip)
    for number, line in enumerate(lines):
        draw.text((GAP, number * LINE_HEIGHT), line, fill=ink, font=_font())
    draw.text((width - GAP, 0), note, fill=ink, font=_font(), anchor='ra')
    return np.asarray(strip)


def _blank(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), PAPER, np.uint8)


def _side_by_side(tiles: Sequence[np.ndarray]) -> np.ndarray:
    """Tiles in a row, at the top, with gaps between them; lower ones are filled up below."""
    height = max(tile.shape[0] for tile in tiles)
    parts = []
    for tile in tiles:
        parts += [np.concatenate([tile, _blank(height - tile.shape[0], tile.shape[1])]), _blank(height, GAP)]
    return np.concatenate(parts[:-1], axis=1)


def draw_panel(
    image: np.ndarray,
    expressions: Sequence[str],
    predictions: Masks | None = None,
    ground_truth: Masks | None = None,
    opacity: float = OPACITY,
    errors: bool = False,
) -> np.ndarray:
    """One row per expression: the picture, the prediction over it, the ground truth over it; above them the expression.

    Where both masks are given their IoU, in percent, stands beside the expression.

    Args:
        image: (height, width, 3) uint8 RGB.
        expressions: K sentences, in any alphabet.
        predictions: (K, height, width), bool or probabilities; None leaves the column out.
        ground_truth: likewise.
        opacity: of the masks' colour, from 0 (outlines alone) to 1.
        errors: add a column, where both masks are given, of what is hit, over-segmented and under-segmented, in three
            colours (as in Fig. 4 and 5).

    Returns:
        The panel, (rows, columns, 3) uint8 RGB.

    Raises:
        ValueError: no expression, masks that fit neither the expressions nor the picture, or an opacity out of range.
    """
    if not len(expressions):
        raise ValueError('A panel needs at least one expression.')
    if not 0 <= opacity <= 1:
        raise ValueError(f'opacity must be from 0 to 1, got {opacity}.')
    given = [('prediction', predictions, PREDICTION_COLOR), ('ground truth', ground_truth, GROUND_TRUTH_COLOR)]
    shape = (len(expressions), *image.shape[:2])
    columns = [(name, _to_bool(masks, name, shape), color) for name, masks, color in given if masks is not None]

    tile = _to_tile(image)
    titles = [('image', INK)] + [(name, color) for name, _, color in columns]
    heads = [_caption(tile.shape[1], name, ink=color) for name, color in titles]
    errors = errors and len(columns) == 2
    panel = [_side_by_side([*heads, _legend(tile.shape[1])] if errors else heads)]
    for index, expression in enumerate(expressions):
        tiles = [tile] + [_overlay(tile, masks[index], color, opacity) for _, masks, color in columns]
        pair = [masks[index] for _, masks, _ in columns]
        row = _side_by_side([*tiles, _errors(tile, pair[0], pair[1], opacity)] if errors else tiles)
        note = _iou_note(pair[0], pair[1]) if len(pair) == 2 else ''
        panel += [_caption(row.shape[1], expression, note), row, _blank(GAP, row.shape[1])]
    return np.concatenate(panel)


def _errors(tile: np.ndarray, prediction: np.ndarray, truth: np.ndarray, opacity: float) -> np.ndarray:
    """The tile with what is hit, what is covered wrongly and what is missed."""
    parts = [(prediction & truth, HIT_COLOR), (prediction & ~truth, OVER_COLOR), (truth & ~prediction, UNDER_COLOR)]
    for mask, color in parts:
        tile = _overlay(tile, mask, color, opacity) if mask.any() else tile
    return tile


def _legend(width: int) -> np.ndarray:
    """A strip that names the colours of :func:`_errors`, each after a square of it."""
    strip = Image.new('RGB', (width, LINE_HEIGHT), PAPER)
    draw, left = ImageDraw.Draw(strip), GAP
    for name, color in (('hit', HIT_COLOR), ('over', OVER_COLOR), ('under', UNDER_COLOR)):
        draw.rectangle((left, 4, left + 11, 15), fill=color, outline=INK)
        draw.text((left + 16, 0), name, fill=INK, font=_font())
        left += 16 + int(_font().getlength(name)) + 3 * GAP
    return np.asarray(strip)


def _iou_note(prediction: np.ndarray, truth: np.ndarray) -> str:
    return f'IoU {100 * (prediction & truth).sum() / max((prediction | truth).sum(), 1):.1f}'


def draw_pair(
    before: tuple[np.ndarray, Sequence[str], Masks], after: tuple[np.ndarray, Sequence[str], Masks]
) -> np.ndarray:
    """What the data set holds beside what a pipeline made of it: a row per expression, masks over both pictures.

    Args:
        before: picture (height, width, 3) uint8 RGB, K expressions, masks (K, height, width).
        after: the same of the picture that the model is shown, of any size; its expressions may have changed.

    Returns:
        The panel, (rows, columns, 3) uint8 RGB.

    Raises:
        ValueError: see :func:`draw_panel`.
    """
    columns, titles = [], []
    for title, (picture, texts, masks) in (('data set', before), ('model', after)):
        found = _to_bool(masks, title, (len(texts), *picture.shape[:2]))
        tile = _to_tile(picture)
        columns.append([(text, _overlay(tile, mask, GROUND_TRUTH_COLOR, FAINT)) for text, mask in zip(texts, found)])
        titles.append(_caption(tile.shape[1], f'{title} {picture.shape[0]} x {picture.shape[1]}'))
    panel = [_side_by_side(titles)]
    for cells in zip(*columns, strict=True):
        captions = [_caption(tile.shape[1], text) for text, tile in cells]
        row = _side_by_side([tile for _, tile in cells])
        panel += [_side_by_side(captions), row, _blank(GAP, row.shape[1])]
    return np.concatenate(panel)


def write_picture(picture: np.ndarray, path: str) -> None:
    """Writes an RGB picture; folders are made.

    Raises:
        ValueError: the path's ending is of no picture format that OpenCV writes.
        OSError: the folder cannot be made or written.
    """
    ending = Path(path).suffix
    if not cv2.haveImageWriter(f'picture{ending}'):
        raise ValueError(f'{path}: pictures cannot be written as {ending!r}; use .png or .jpg.')
    _, data = cv2.imencode(ending, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    try:
        fileio.put(data.tobytes(), path)
    except OSError as error:
        raise OSError(f'{path}: the panel cannot be written ({error}); choose a folder that can.') from error


@cache
def can_open_windows() -> bool:
    """Whether matplotlib opens windows here; where not, a warning says so, once. mmengine would wait for a key for
    ever.
    """
    from matplotlib import pyplot  # late: it chooses its backend when it is imported

    backend = pyplot.get_backend()
    if backend.lower() not in WITHOUT_WINDOWS:
        return True
    print_log(
        f"No window can be opened here (matplotlib's backend is {backend}), so nothing is shown: write pictures to a "
        'folder instead (--show-dir of tools/test.py, --output-dir of browse_dataset.py).',
        logger='current',
        level=logging.WARNING,
    )
    return False


@VISUALIZERS.register_module()
class ReferringVisualizer(Visualizer):
    """mmengine's visualizer for samples with expressions: draws :func:`draw_panel`.

    Args:
        name: of the instance, as mmengine has it.
        errors: draw a column of what is hit, over-segmented and under-segmented, where ground truth is drawn.
        kwargs: of mmengine's visualizer.
    """

    def __init__(self, name: str = 'visualizer', errors: bool = True, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.errors = errors

    @master_only
    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: BaseDataElement,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: str | None = None,
        step: int = 0,
    ) -> None:
        """Draws the panel of a data sample; it goes to every visualizer backend, and to a file and a window if asked
        for.

        Args:
            name: identifier of the picture in the backends; a slash becomes ``_``, since mmengine's local backend would
                make no folder for it.
            image: (height, width, 3) uint8 RGB, of the size that the sample's masks have.
            data_sample: ``SegDataSample`` with ``expressions`` and, after prediction, ``predictions``.
            draw_gt: draw ``expressions.masks`` where present.
            draw_pred: draw ``predictions.masks`` where present.
            show: open a window, where one can be opened.
            wait_time: seconds it stays; 0 waits for the space key.
            out_file: path of the file; its ending says the format.
            step: global step, for the backends.

        Raises:
            ValueError: see :func:`draw_panel` and :func:`write_picture`.
        """
        expressions = data_sample.expressions
        predicted = data_sample.predictions.masks if draw_pred and 'predictions' in data_sample else None
        truth = expressions.masks if draw_gt and 'masks' in expressions else None
        panel = draw_panel(image, expressions.texts, predicted, truth, errors=self.errors)
        if out_file is not None:
            write_picture(panel, out_file)
        if show and can_open_windows():
            self.show(panel, win_name=name, wait_time=wait_time)
        self.add_image(name.replace('/', '_'), panel, step)
