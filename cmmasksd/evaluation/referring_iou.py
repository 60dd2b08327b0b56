"""ReferringIoUMetric: mIoU, oIoU and Pr@X per expression, in integers to the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from PIL import Image
from torch import Tensor

from cmmasksd.evaluation.localisation import locate
from cmmasksd.registry import METRICS

TENTHS = (5, 6, 7, 8, 9)
"""The X of Pr@X, in tenths: compared as integers, so that an IoU of exactly 3/5 is never above 0.6."""

Pair = tuple[int, int]


def count_pairs(predictions: Tensor, ground_truth: Sequence[Tensor]) -> list[Pair]:
    """(intersection, union) in pixels of each prediction with its mask.

    One expression at a time, which bounds the memory, on the device of the predictions; only the numbers leave it.

    Args:
        predictions: (K, height, width) bool.
        ground_truth: K masks (height, width), bool.
    """
    counts = []
    for prediction, mask in zip(predictions, ground_truth, strict=True):
        mask = mask.to(prediction.device)
        counts.append(torch.stack([(prediction & mask).count_nonzero(), (prediction | mask).count_nonzero()]))
    return [tuple(pair) for pair in torch.stack(counts).tolist()] if counts else []


def derange(masks: Tensor, ref_ids: Tensor) -> list[Tensor]:
    """For each expression the mask of another ref of its image: the next one, cyclically, in ascending order of ref id.

    Args:
        masks: (K, height, width), the masks of the expressions' own refs.
        ref_ids: (K,) int64.

    Returns:
        K masks, or none where the image has a single ref.
    """
    ids = ref_ids.tolist()
    order = sorted(set(ids))
    if len(order) < 2:
        return []
    following = dict(zip(order, order[1:] + order[:1], strict=True))
    return [masks[ids.index(following[ref_id])] for ref_id in ids]


@METRICS.register_module()
class ReferringIoUMetric(BaseMetric):
    """IoU per expression, at the picture's own size.

    Keys, all but the last in percent, as CRIS defines them: ``mIoU``, the mean IoU over expressions; ``oIoU``, the sum
    of intersections over the sum of unions (also called cIoU); ``Pr@0.5`` to ``Pr@0.9``, the share of expressions whose
    IoU is strictly greater; ``num_expressions``. The IoU of two empty masks counts 0.

    Each image gives one entry to ``results``, whatever the number of its expressions: mmengine gathers the entries of
    all processes and cuts them to the length of the data set, and so drops exactly the images that the sampler repeated
    to make the processes even.

    ``process`` reads, of each data sample, ``predictions.masks`` (K, height, width) bool and ``expressions.masks`` of
    the same shape, ``expressions.ref_ids`` (K,) for the derangement, and for the localisation ``objects.masks`` (O,
    height, width) where it is there.

    Args:
        derangement: also give ``mIoU_deranged``: every prediction scored against another ref of its image (see
            :func:`derange`; images with a single ref left out; nan where no image has two). A model that ignores the
            language keeps its mIoU there, one that listens loses it.
        localisation: also give ``Loc``, in percent: the share of expressions whose mask lies on the right one of the
            picture's objects (see :func:`cmmasksd.evaluation.localisation.locate`), however its edges run. The objects
            are those that the data set loads (``RefCOCODataset(all_objects=True)``), else the refs of the picture's
            expressions. Pictures with one object are left out; nan where none has two.
        segmentation_errors: also give ``OverSeg`` and ``UnderSeg``, in percent: the means over expressions of the
            wrongly covered and of the missed area, each over the union. With mIoU they make 100, but for expressions
            whose masks are both empty, which count 0 in all three.
        inclusive: count an IoU of exactly X as above X in Pr@X, as LAVT and ReLA do.
        collect_device: ``cpu`` or ``gpu``, how processes exchange results.
        prefix: put before the keys, as ``prefix/mIoU``; none by default.
        collect_dir: folder for the exchange over the file system.
        output_dir: folder where predicted masks are written too, of 0 and 255: ``STEM_SENTID.png``, numbered (``-2``)
            where joined data sets hold a picture and a sentence of the same names. mmseg's ``tools/test.py --out``
            sets it.
        keep_results: set by mmseg's tool along with ``output_dir``; the masks are always kept.

    Raises:
        ValueError: masks that do not match in shape or number, that are not bool, or no result at all;
            ``keep_results=False``.
        OSError: ``output_dir`` cannot be made or written.
    """

    names = (
        *('mIoU', 'oIoU', *(f'Pr@0.{tenth}' for tenth in TENTHS), 'num_expressions'),
        *('mIoU_deranged', 'Loc', 'OverSeg', 'UnderSeg'),
    )
    default_prefix = ''  # None would make mmengine warn of a missing prefix at every start

    def __init__(
        self,
        derangement: bool = False,
        localisation: bool = False,
        segmentation_errors: bool = False,
        inclusive: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
        output_dir: str | None = None,
        keep_results: bool = True,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        if not keep_results:
            raise ValueError(
                'ReferringIoUMetric keeps the masks that it writes: leave keep_results and output_dir out.'
            )
        self.derangement = derangement
        self.localisation = localisation
        self.segmentation_errors = segmentation_errors
        self.inclusive = inclusive
        self.output_dir = output_dir
        self._written: Counter[str] = Counter()

    def process(self, data_batch: dict | None, data_samples: Sequence[dict]) -> None:
        """Adds one entry per image: its pairs, those of the derangement, and what was located."""
        for sample in data_samples:
            predictions, masks = self._masks(sample)
            entry: dict[str, list] = dict(pairs=count_pairs(predictions, masks.unbind()))
            if self.derangement:
                others = derange(masks, sample['expressions']['ref_ids'])
                entry['deranged'] = count_pairs(predictions, others) if others else []
            if self.localisation:
                objects = sample['objects']['masks'] if 'objects' in sample else masks
                entry['located'] = locate(predictions, masks.unbind(), objects)
            if self.segmentation_errors:
                entry['areas'] = [int(mask.count_nonzero()) for mask in masks]
            self.results.append(entry)
            if self.output_dir is not None:
                self._write(self.output_dir, sample, predictions)

    def _write(self, folder: str, sample: dict, masks: Tensor) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for sent_id, mask in zip(sample['expressions']['sent_ids'].tolist(), masks.cpu().numpy(), strict=True):
            name = f'{Path(sample["img_path"]).stem}_{sent_id}'
            self._written[name] += 1
            number = f'-{self._written[name]}' if self._written[name] > 1 else ''
            Image.fromarray(mask).save(Path(folder, f'{name}{number}.png'))

    def evaluate(self, size: int) -> dict[str, float]:
        """mmengine's entry: the table of all processes' entries; what comes next is another evaluation."""
        self._written.clear()
        return super().evaluate(size)

    @staticmethod
    def _masks(sample: dict) -> tuple[Tensor, Tensor]:
        predictions, masks = sample['predictions']['masks'], sample['expressions']['masks']
        picture = sample.get('img_path', 'a picture')
        if predictions.shape != masks.shape or predictions.ndim != 3:
            raise ValueError(
                f'{picture}: predictions {tuple(predictions.shape)} and ground truth {tuple(masks.shape)} must both '
                'be (K, height, width) at the '
                "picture's own size; is LetterboxResize(resize_masks=False) in the evaluation pipeline?"
            )
        if predictions.dtype != torch.bool or masks.dtype != torch.bool:
            raise ValueError(
                f'{picture}: masks must be bool, got {predictions.dtype} predicted and {masks.dtype} annotated.'
            )
        return predictions, masks

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """The table of all entries."""
        pairs = np.array([pair for entry in results for pair in entry['pairs']], dtype=np.int64).reshape(-1, 2)
        if not len(pairs):
            raise ValueError(
                'ReferringIoUMetric has nothing to score: no image was processed; is the data set or the split empty?'
            )
        intersections, unions = pairs.T
        table = dict(mIoU=self._mean_iou(pairs), oIoU=100 * float(intersections.sum() / max(unions.sum(), 1)))
        for tenth in TENTHS:
            right = 10 * intersections > tenth * unions
            if self.inclusive:
                right |= (10 * intersections == tenth * unions) & (unions > 0)
            table[f'Pr@0.{tenth}'] = 100 * float(right.mean())
        table['num_expressions'] = len(pairs)
        if self.derangement:
            deranged = [pair for entry in results for pair in entry['deranged']]
            table['mIoU_deranged'] = self._mean_iou(np.array(deranged, dtype=np.int64)) if deranged else float('nan')
        if self.localisation:
            located = [right for entry in results for right in entry['located']]
            table['Loc'] = 100 * float(np.mean(located)) if located else float('nan')
        if self.segmentation_errors:
            areas = np.array([area for entry in results for area in entry['areas']], dtype=np.int64)
            table['OverSeg'] = self._mean_share(unions - areas, unions)
            table['UnderSeg'] = self._mean_share(areas - intersections, unions)
        return table

    def _mean_iou(self, pairs: np.ndarray) -> float:
        return self._mean_share(*pairs.T)

    @staticmethod
    def _mean_share(parts: np.ndarray, wholes: np.ndarray) -> float:
        return 100 * float((parts / np.maximum(wholes, 1)).mean())
