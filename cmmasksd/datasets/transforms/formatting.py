"""From numpy to what the model takes."""

from __future__ import annotations

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import InstanceData
from mmseg.structures import SegDataSample

from cmmasksd.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PackReferringInputs(BaseTransform):
    """Packs a sample of one image and K expressions.

    The result is ``dict(inputs, data_samples)``: ``inputs`` (3, H, W) uint8 RGB; ``data_samples`` a ``SegDataSample``
    with

    * ``expressions``: ``InstanceData`` with ``texts`` (K strings), ``input_ids`` (K, L) int64, and where the sample is
      annotated ``masks``, ``ref_ids`` (K,) int64 and ``sent_ids`` (K,) int64. ``masks`` is (K, H, W) float32 in
      [0, 1], letterboxed, in training, and (K, height, width) bool, at the picture's own size, in evaluation
      (``LetterboxResize(resize_masks=False)``);
    * ``objects``, where they were loaded: ``InstanceData`` with ``masks`` (O, height, width) bool, all annotated
      objects;
    * metainfo ``img_path``, ``img_id`` and ``flip`` (whether the picture is mirrored) where known, ``ori_shape``
      (height, width), ``img_shape`` (H, W) and ``letterbox`` (:class:`cmmasksd.structures.Letterbox`).

    A picture without annotation comes with ``texts`` alone, past SelectSentences and LoadReferringMasks.
    """

    def transform(self, results: dict) -> dict:
        """Gives the packed sample."""
        sample = SegDataSample(metainfo=self._metainfo(results))
        sample.expressions = self._expressions(results)
        if 'object_masks' in results:
            sample.objects = InstanceData(masks=torch.from_numpy(results['object_masks']))
        return dict(inputs=torch.from_numpy(results['img']).permute(2, 0, 1).contiguous(), data_samples=sample)

    @staticmethod
    def _metainfo(results: dict) -> dict:
        known = {key: results[key] for key in ('img_path', 'img_id', 'flip') if key in results}
        shapes = dict(ori_shape=(results['height'], results['width']), img_shape=results['img'].shape[:2])
        return dict(known, **shapes, letterbox=results['letterbox'])

    def _expressions(self, results: dict) -> InstanceData:
        fields = dict(texts=results['texts'], input_ids=torch.from_numpy(results['input_ids']))
        for key in ('ref_ids', 'sent_ids'):
            if key in results:
                fields[key] = torch.from_numpy(results[key])
        if 'masks' in results:
            fields['masks'] = torch.from_numpy(self._mask_of_each(results['masks'], results['mask_index']))
        expressions = InstanceData()
        for key, value in fields.items():
            expressions.set_field(value, key)  # an assignment would compare the lengths of all fields so far, each time
        return expressions

    @staticmethod
    def _mask_of_each(masks: np.ndarray, mask_index: np.ndarray) -> np.ndarray:
        one_each = len(mask_index) == len(masks) and (mask_index == np.arange(len(masks))).all()
        return masks if one_each else masks[mask_index]  # indexing copies
