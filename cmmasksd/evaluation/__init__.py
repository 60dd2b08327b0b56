"""Metrics of referring image segmentation."""

from cmmasksd.evaluation.referring_iou import ReferringIoUMetric

__all__ = ['ReferringIoUMetric']
