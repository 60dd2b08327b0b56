"""The inferencer that users of MMSegInferencer and DetInferencer type, over our own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.infer import BaseInferencer
from mmengine.structures import InstanceData
from mmengine.visualization import Visualizer
from mmseg.structures import SegDataSample

from cmmasksd.apis.inferencer import ReferringInferencer
from cmmasksd.apis.pictures import Picture, distinct_stems
from cmmasksd.apis.prepared import PreparedPicture
from cmmasksd.apis.requests import Expressions, pair, read_ahead
from cmmasksd.apis.results import ReferringResult
from cmmasksd.visualization import can_open_windows, draw_panel, write_picture

Pair = tuple[Picture, Expressions]


class MMReferringInferencer(BaseInferencer):
    """mmengine's inferencer for pictures and sentences; arguments and answers are MMSegInferencer's, with ``texts`` as
    in DetInferencer.

    >>> inferencer = MMReferringInferencer('vit-b_refcoco', 'checkpoint.pth')
    >>> inferencer('zebras.jpg', 'left zebra', out_dir='out')['predictions'].shape  # (1, height, width)

    Args:
        model: path of a config, the name of a shipped one, the config, or the folder of a published model.
        weights: checkpoint file; None: as for :class:`~cmmasksd.apis.inferencer.ReferringInferencer`.
        device: by default an accelerator if there is one.
        show_progress: show a bar.
        precision: see :class:`~cmmasksd.apis.inferencer.ReferringInferencer`.

    Raises:
        FileNotFoundError, ValueError, CheckpointError: as for ``ReferringInferencer``.
    """

    preprocess_kwargs: set = set()
    forward_kwargs: set = set()
    visualize_kwargs: set = {'show', 'wait_time', 'img_out_dir', 'opacity', 'return_vis'}
    postprocess_kwargs: set = {'pred_out_dir'}

    def __init__(
        self,
        model: str | Path | Config,
        weights: str | Path | None = None,
        device: str | torch.device | None = None,
        show_progress: bool = True,
        precision: str | None = None,
    ) -> None:
        # not mmengine's own, which knows neither names of ours nor published folders, and builds in one scope only
        self.inferencer = ReferringInferencer(model, weights, device, precision)
        self.model, self.cfg, self.show_progress = self.inferencer.model, self.inferencer.cfg, show_progress
        self.pipeline = self._init_pipeline(self.cfg)

    def __call__(
        self,
        inputs: Picture | Iterable[Picture],
        texts: Expressions | Sequence[Expressions],
        return_datasamples: bool = False,
        batch_size: int = 1,
        out_dir: str | Path = '',
        img_out_dir: str = 'vis',
        pred_out_dir: str = 'pred',
        **options: Any,
    ) -> dict[str, Any] | SegDataSample | list[SegDataSample]:
        """Segments.

        Args:
            inputs: a path, PIL image or (height, width, 3) uint8 RGB array; a list of those, a folder of pictures, or
                any other iterable of pictures.
            texts: one sentence, asked of every picture, or several; for a list of pictures an equally long list of
                those.
            return_datasamples: give data samples instead of the dict.
            batch_size: pictures that are encoded together.
            out_dir: folder for what is written; nothing is written without one.
            img_out_dir: folder in ``out_dir`` for panels, ``STEM.png``; ``''``: none.
            pred_out_dir: folder in ``out_dir`` for ``STEM.json`` and masks of 0 and 255, ``STEM_1.png`` ...; ``''``:
                none.
            options: ``show``: open a window for each picture; ``wait_time``: seconds that it stays, 0 for until a key
                is pressed; ``opacity`` of the masks, from 0 to 1; ``return_vis``: give the panels too.

        Returns:
            ``predictions``: masks (K, height, width) bool; ``visualization``: with ``return_vis``, panels (rows,
            columns, 3) uint8 RGB. Of several pictures, lists. Or the data samples, with ``expressions.texts`` and
            ``predictions``: ``masks``, ``probabilities`` and ``scores``.

        Raises:
            ValueError, TypeError, OSError: as for ``ReferringInferencer``; an option that does not exist.
        """
        if isinstance(texts, str) and isinstance(inputs, (list, tuple)):
            texts = [texts] * len(inputs)
        pairs, _ = pair(inputs, texts)
        asked = dict(img_out_dir=img_out_dir, pred_out_dir=pred_out_dir)
        folders = {
            name: os.path.join(out_dir, folder) if str(out_dir) and folder else '' for name, folder in asked.items()
        }
        for folder in filter(None, folders.values()):
            Path(folder).mkdir(parents=True, exist_ok=True)
        return super().__call__(list(pairs), return_datasamples, batch_size, **folders, **options)

    def preprocess(self, inputs: list[Pair], batch_size: int = 1, **kwargs: Any) -> Iterator[list[PreparedPicture]]:
        """Batches of prepared pictures, read a little ahead."""
        return read_ahead(self.inferencer.prepare, inputs, batch_size)

    def forward(self, inputs: list[PreparedPicture], **kwargs: Any) -> list[ReferringResult]:
        """The answers of a batch."""
        return self.inferencer.segment(inputs)

    def visualize(
        self,
        inputs: list[Pair],
        preds: list[ReferringResult],
        show: bool = False,
        wait_time: float = 0,
        img_out_dir: str = '',
        opacity: float = 0.5,
        return_vis: bool = False,
    ) -> list[np.ndarray] | None:
        """Draws panels where anybody asks for them; gives them with ``return_vis``."""
        shown = show and can_open_windows()
        if not (shown or img_out_dir or return_vis):
            return None
        panels = []
        for stem, result in zip(distinct_stems([result.name for result in preds]), preds):
            panel = draw_panel(result.image, result.expressions, result.masks, opacity=opacity)
            if img_out_dir:
                write_picture(panel, os.path.join(img_out_dir, f'{stem}.png'))
            if shown:
                Visualizer().show(panel, win_name=stem, wait_time=wait_time)
            if return_vis:
                panels.append(panel)
        return panels if return_vis else None

    def postprocess(
        self,
        preds: list[ReferringResult],
        visualization: list[np.ndarray] | None,
        return_datasample: bool = False,
        pred_out_dir: str = '',
    ) -> dict[str, Any] | SegDataSample | list[SegDataSample]:
        """Writes masks, and packs what a call gives."""
        if pred_out_dir:
            for stem, result in zip(distinct_stems([result.name for result in preds]), preds):
                result.save_masks(pred_out_dir, stem)
        if return_datasample:
            samples = [_as_sample(result) for result in preds]
            return samples[0] if len(samples) == 1 else samples
        masks, panels = [result.masks for result in preds], visualization or []
        if len(preds) == 1:
            return dict(predictions=masks[0], visualization=panels[0] if panels else panels)
        return dict(predictions=masks, visualization=panels)

    def _init_pipeline(self, cfg: Config) -> Any:
        return self.inferencer.pipeline


def _as_sample(result: ReferringResult) -> SegDataSample:
    """A result in the form that the model's ``predict`` gives, on the CPU."""
    sample = SegDataSample(metainfo=dict(img_path=result.name, ori_shape=result.image.shape[:2]))
    sample.expressions = InstanceData(texts=result.expressions)
    sample.predictions = InstanceData(
        masks=torch.from_numpy(result.masks),
        probabilities=torch.from_numpy(result.probabilities),
        scores=torch.from_numpy(result.scores),
    )
    return sample
