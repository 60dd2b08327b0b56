"""The functions that OpenMMLab's users type, over :class:`~cmmasksd.apis.inferencer.ReferringInferencer`."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.visualization import Visualizer
from torch import nn

from cmmasksd.apis.inferencer import ReferringInferencer
from cmmasksd.apis.pictures import Picture
from cmmasksd.apis.requests import Expressions
from cmmasksd.apis.results import ReferringResult
from cmmasksd.apis.sources import find_source
from cmmasksd.visualization import WITHOUT_WINDOWS, draw_panel, write_picture


def init_model(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    device: str | torch.device | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    precision: str | None = None,
) -> nn.Module:
    """Builds a segmentor for inference; ``model.cfg`` is its config.

    Args:
        config: path, name of a shipped config (:func:`~cmmasksd.shipped.list_models`), or a config, which is not
            changed; or a checkpoint alone or the folder of a published model.
        checkpoint: file of weights; None: as for :class:`~cmmasksd.apis.inferencer.ReferringInferencer`.
        device: by default an accelerator if there is one.
        cfg_options: values by dotted keys that replace those of the config, such as ``{'model.threshold': 0.5}``.
        precision: see :class:`~cmmasksd.apis.inferencer.ReferringInferencer`.

    Raises:
        FileNotFoundError: no config of that path or name.
        ValueError: a device or config that cannot be used, or options for a published model, which is taken as it is.
        CheckpointError: weights that cannot be read or are another model's.
    """
    if not cfg_options:
        return ReferringInferencer(copy.deepcopy(config), checkpoint, device, precision).model
    source = find_source(config, checkpoint)
    if source.is_published:
        raise ValueError(f'{config} is a published model and taken as it is: leave out {", ".join(cfg_options)}.')
    cfg = copy.deepcopy(source.config)
    cfg.merge_from_dict(dict(cfg_options))
    return ReferringInferencer(cfg, source.weights, device, precision).model


def inference_model(
    model: nn.Module, img: Picture | Sequence[Picture], text: Expressions | Sequence[Expressions]
) -> ReferringResult | list[ReferringResult]:
    """Finds what expressions refer to.

    Args:
        model: of :func:`init_model`.
        img: a path, PIL image or (height, width, 3) uint8 RGB array; or a list of those.
        text: one expression or several; for a list of images, an equally long list of the same.

    Returns:
        The result of the image; for a list or tuple of images, a list of results.

    Raises:
        ValueError, TypeError, OSError: see :class:`~cmmasksd.apis.inferencer.ReferringInferencer`.
    """
    results = ReferringInferencer.from_model(model)(img, text)
    return results if isinstance(img, (list, tuple)) else results[0]


def show_result_pyplot(
    model: nn.Module,
    img: Picture,
    result: ReferringResult,
    opacity: float = 0.5,
    title: str = '',
    draw_pred: bool = True,
    wait_time: float = 0,
    show: bool = True,
    out_file: str | Path | None = None,
) -> np.ndarray:
    """Draws the masks of a result over its picture, in a window, a file or both.

    Args:
        model: of :func:`init_model`.
        img: the picture asked about, as for :func:`inference_model`.
        result: the answer.
        opacity: of the masks, from 0 to 1.
        title: of the window.
        draw_pred: draw the masks, not the picture and the expressions alone.
        wait_time: seconds that the window stays; 0 waits for the space key.
        show: open a window. Where none can be opened a warning says so.
        out_file: file to write; its ending says the format.

    Returns:
        The panel, (rows, columns, 3) uint8 RGB.

    Raises:
        ValueError: a picture of another size than the result's, an opacity out of range, or an ending of no format.
        OSError: the picture cannot be read, or the file not written.
    """
    picture = ReferringInferencer.from_model(model).load(img)
    panel = draw_panel(picture, result.expressions, result.masks if draw_pred else None, opacity=opacity)
    if out_file is not None:
        write_picture(panel, str(out_file))
    if show:
        _show(panel, title, wait_time)
    return panel


def _show(panel: np.ndarray, title: str, wait_time: float) -> None:
    from matplotlib import pyplot  # late: it chooses its backend when it is imported

    backend = pyplot.get_backend()
    if backend.lower() in WITHOUT_WINDOWS:  # mmengine would wait for ever for a key
        warnings.warn(
            f"No window can be opened here (matplotlib's backend is {backend}): set show=False, and out_file to write "
            'the panel.',
            stacklevel=3,
        )
        return
    Visualizer().show(panel, win_name=title or 'image', wait_time=wait_time)
