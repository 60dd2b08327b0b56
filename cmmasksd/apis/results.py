"""Answers about one picture: masks, and the forms in which people want them."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from torch import Tensor

from cmmasksd.apis.fifty_one import make_detections
from cmmasksd.models.mask_alignment import MaskAlignment, logits_to_masks
from cmmasksd.strict_json import to_json
from cmmasksd.structures import Letterbox
from cmmasksd.visualization import draw_panel, write_picture

if TYPE_CHECKING:
    from fiftyone import Detections as FiftyOneDetections
    from supervision import Detections

PIXELS_AT_ONCE = 2**24  # masks are enlarged so many pixels at a time: 64 MB of float32


@dataclass(frozen=True, eq=False)
class ReferringResult:
    """Answers about one picture.

    Masks and probabilities are made when they are first asked for. Masks stay; probabilities, four bytes a pixel and
    expression, are made anew each time.

    Attributes:
        image: (height, width, 3) uint8 RGB.
        expressions: the K expressions asked.
        maps: (K, h, w) float32, probabilities on the logits' grid, on the model's device.
        letterbox: how the picture lay in the model's input.
        threshold: a pixel whose probability is above it belongs to the object.
        mask_alignment: where a logit stands in the input; see :mod:`cmmasksd.models.mask_alignment`.
        name: the picture's file, where it came from one.
    """

    image: np.ndarray = field(repr=False)
    expressions: list[str]
    maps: Tensor = field(repr=False)
    letterbox: Letterbox = field(repr=False)
    threshold: float = 0.35
    mask_alignment: MaskAlignment = 'area'
    name: str = ''

    @property
    def masks(self) -> np.ndarray:
        """(K, height, width) bool."""
        return self._masks_and_scores[0]

    @property
    def scores(self) -> np.ndarray:
        """(K,) float32, the mean probability of each mask's pixels; 0 where the mask is empty."""
        return self._masks_and_scores[1]

    @property
    def probabilities(self) -> np.ndarray:
        """(K, height, width) float32 in [0, 1]."""
        return np.concatenate([self._enlarge(part).cpu().numpy() for part in self._parts()])

    def at(self, threshold: float) -> ReferringResult:
        """The same answers at another threshold, without asking the model again.

        Raises:
            ValueError: a threshold outside [0, 1).
        """
        if not isinstance(threshold, Real) or not 0 <= threshold < 1:
            raise ValueError(f'threshold is compared with probabilities: it must lie in [0, 1), got {threshold!r}.')
        return replace(self, threshold=threshold)

    def draw(self) -> np.ndarray:
        """A panel (rows, columns, 3) uint8 RGB: a row an expression, the picture beside its mask."""
        return draw_panel(self.image, self.expressions, self.masks)

    def to_coco_rle(self) -> list[dict[str, Any]]:
        """The K masks as COCO's compressed run lengths, ``dict(size=[height, width], counts=str)``."""
        encoded = coco_mask.encode(np.asfortranarray(self.masks.transpose(1, 2, 0).view(np.uint8)))
        return [dict(size=[int(side) for side in rle['size']], counts=rle['counts'].decode()) for rle in encoded]

    def to_dict(self) -> dict[str, Any]:
        """All that JSON can hold: ``image`` (its file), ``size`` [height, width], ``threshold`` and ``objects``, each
        with ``expression``, ``score``, ``area`` in pixels, ``bbox`` [x, y, width, height] and ``segmentation``.
        """
        segmentations = self.to_coco_rle()
        objects = [
            dict(
                expression=expression,
                score=float(score),
                area=int(coco_mask.area(rle)),
                bbox=coco_mask.toBbox(rle).tolist(),
                segmentation=rle,
            )
            for expression, score, rle in zip(self.expressions, self.scores, segmentations)
        ]
        height, width = self.image.shape[:2]
        return dict(image=self.name, size=[height, width], threshold=self.threshold, objects=objects)

    def to_supervision(self) -> Detections:
        """The masks as ``supervision.Detections``: ``confidence`` is the score, ``data['class_name']`` the expression.

        Raises:
            ImportError: supervision is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise ImportError("supervision is not installed: pip install 'cmmasksd[supervision]'.") from error
        return supervision.Detections(
            xyxy=supervision.mask_to_xyxy(self.masks).astype(np.float32),
            mask=self.masks,
            confidence=self.scores,
            class_id=np.arange(len(self.expressions)),
            data=dict(class_name=np.array(self.expressions)),
        )

    def to_fiftyone(self) -> FiftyOneDetections:
        """The masks as ``fiftyone.Detections``: ``label`` is the expression, ``confidence`` the score. Empty masks are
        left out, for they have no box.

        Raises:
            ImportError: FiftyOne is not installed.
        """
        return make_detections(zip(self.expressions, self.scores.tolist(), self.masks))

    def save(self, folder: str | Path, stem: str | None = None) -> list[Path]:
        """Writes ``STEM.json`` (:meth:`to_dict`), ``STEM_panel.png`` and a mask an expression, ``STEM_1.png`` ..., of 0
        and 255.

        Args:
            folder: made where it is not there.
            stem: beginning of the files' names; by default that of the picture's file, or ``result``.

        Returns:
            The files written.

        Raises:
            OSError: the folder cannot be made or written.
        """
        folder, stem = Path(folder), stem or Path(self.name).stem or 'result'
        panel = folder / f'{stem}_panel.png'
        write_picture(self.draw(), str(panel))
        report, *masks = self.save_masks(folder, stem)
        return [report, panel, *masks]

    def save_masks(self, folder: str | Path, stem: str) -> list[Path]:
        """Writes all that :meth:`save` does but the panel, into a folder that is there.

        Raises:
            OSError: the folder is not there or cannot be written.
        """
        report = Path(folder, f'{stem}.json')
        report.write_text(to_json(self.to_dict(), indent=2) + '\n')
        masks = [Path(folder, f'{stem}_{number}.png') for number in range(1, len(self.masks) + 1)]
        for path, mask in zip(masks, self.masks):
            Image.fromarray(mask).save(path)
        return [report, *masks]

    def _repr_png_(self) -> bytes:
        """The panel, for notebooks."""
        buffer = io.BytesIO()
        Image.fromarray(self.draw()).save(buffer, 'PNG')
        return buffer.getvalue()

    def _parts(self) -> tuple[Tensor, ...]:
        """The maps, some expressions at a time."""
        height, width = self.letterbox.original
        return self.maps.split(max(1, PIXELS_AT_ONCE // (height * width)))

    @torch.inference_mode()
    def _enlarge(self, maps: Tensor) -> Tensor:
        """(k, h, w) -> (k, height, width)."""
        return self.letterbox.undo(logits_to_masks(maps[:, None], self.letterbox.size, self.mask_alignment)[:, 0])

    @cached_property
    def _masks_and_scores(self) -> tuple[np.ndarray, np.ndarray]:
        masks = np.empty((len(self.maps), *self.letterbox.original), bool)
        scores = np.empty(len(self.maps), np.float32)
        begun = 0
        for part in self._parts():
            rows = slice(begun, begun := begun + len(part))
            probabilities = self._enlarge(part)
            inside = probabilities > self.threshold
            masks[rows] = inside.cpu().numpy()
            inside_sum = torch.where(inside, probabilities, 0).sum(dim=(1, 2))
            scores[rows] = (inside_sum / inside.sum(dim=(1, 2)).clamp(min=1)).cpu().numpy()
        return masks, scores
