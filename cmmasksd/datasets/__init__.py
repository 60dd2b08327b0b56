"""Data sets in REFER's format: reader, data set, synthetic set, transforms."""

from cmmasksd.datasets.refcoco import RefCOCODataset

__all__ = ['RefCOCODataset']
