"""DumpPredictions: what a model answered, in a file that ``cmmasksd evaluate`` and error analysis read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from pycocotools import mask as coco_mask

from cmmasksd.registry import METRICS
from cmmasksd.strict_json import to_json


@METRICS.register_module()
class DumpPredictions(BaseMetric):
    """Writes a line of JSON for each expression: ``{"sent_id": 7, "segmentation": RLE}``, at the picture's own size.

    It gives no numbers and stands beside the metric that does: ``test_evaluator = [dict(type='ReferringIoUMetric'),
    dict(type='DumpPredictions', out_file_path='val.jsonl')]``, or ``--predictions FILE`` of ``tools/test.py``.

    Args:
        out_file_path: the file, named as mmengine's ``DumpResults`` names it; folders are made.
        append: add to what is there, so that the splits of a run share a file; else it is written anew.
        collect_device: as mmengine has it.
        collect_dir: as mmengine has it.
    """

    default_prefix = ''

    def __init__(
        self, out_file_path: str, append: bool = False, collect_device: str = 'cpu', collect_dir: str | None = None
    ) -> None:
        super().__init__(collect_device=collect_device, collect_dir=collect_dir)
        self.out_file_path = out_file_path
        self.append = append

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keeps the masks of each image, encoded."""
        for sample in data_samples:
            masks = sample['predictions']['masks'].cpu().numpy()
            ids = sample['expressions']['sent_ids'].tolist()
            self.results.append([(sent_id, _encode(mask)) for sent_id, mask in zip(ids, masks, strict=True)])

    def compute_metrics(self, results: list[list[tuple[int, dict[str, Any]]]]) -> dict[str, float]:
        """Writes the masks of all processes."""
        path = Path(self.out_file_path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, 'a' if self.append else 'w', encoding='utf-8') as lines:
            for sent_id, segmentation in (answer for image in results for answer in image):
                lines.write(to_json(dict(sent_id=sent_id, segmentation=segmentation)) + '\n')
        return {}


def _encode(mask: np.ndarray) -> dict[str, Any]:
    """(height, width) bool -> COCO's compressed RLE with text, not bytes, for its runs."""
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return dict(size=list(rle['size']), counts=rle['counts'].decode('ascii'))
