"""Metrics of referring image segmentation, predictions as a file, and what refines masks before they are scored."""

from cmmasksd.evaluation.dense_crf import DenseCRF, DenseCRFEvaluator
from cmmasksd.evaluation.dump_predictions import DumpPredictions
from cmmasksd.evaluation.referring_iou import ReferringIoUMetric

__all__ = ['DenseCRF', 'DenseCRFEvaluator', 'DumpPredictions', 'ReferringIoUMetric']
