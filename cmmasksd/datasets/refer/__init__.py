"""REFER's format on disk: everything between the files and the records; it knows no torch, and nothing above it."""

from cmmasksd.datasets.refer.errors import ReferError, ReferWarning
from cmmasksd.datasets.refer.published import PUBLISHED_COUNTS
from cmmasksd.datasets.refer.reader import load_refer
from cmmasksd.datasets.refer.records import Image, Ref, ReferData, Sentence
from cmmasksd.datasets.refer.segmentation import decode_mask

__all__ = [
    'PUBLISHED_COUNTS',
    'Image',
    'Ref',
    'ReferData',
    'ReferError',
    'ReferWarning',
    'Sentence',
    'decode_mask',
    'load_refer',
]
