"""Metrics of referring image segmentation."""

from .referring_iou import ReferringIoUMetric

__all__ = ['ReferringIoUMetric']
