"""Data sets in REFER's format: reader, data set, synthetic set, transforms."""

from cmmasksd.datasets.collating import collate_in_one_block
from cmmasksd.datasets.refcoco import RefCOCODataset

__all__ = ['RefCOCODataset', 'collate_in_one_block']
