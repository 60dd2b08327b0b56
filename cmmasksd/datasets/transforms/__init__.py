"""From a record of the data set to tensors: load, choose sentences, letterbox, tokenize, pack."""

from cmmasksd.datasets.transforms.augmentation import AugmentPicture
from cmmasksd.datasets.transforms.building import build_pipeline
from cmmasksd.datasets.transforms.formatting import PackReferringInputs
from cmmasksd.datasets.transforms.geometry import FlipWithSentence, LetterboxResize, StretchPicture
from cmmasksd.datasets.transforms.loading import LoadReferringImage, LoadReferringMasks
from cmmasksd.datasets.transforms.test_time import with_test_time_augmentation
from cmmasksd.datasets.transforms.text import SelectSentences, TokenizeExpressions

__all__ = [
    'AugmentPicture',
    'FlipWithSentence',
    'LetterboxResize',
    'LoadReferringImage',
    'LoadReferringMasks',
    'PackReferringInputs',
    'SelectSentences',
    'StretchPicture',
    'TokenizeExpressions',
    'build_pipeline',
    'with_test_time_augmentation',
]
