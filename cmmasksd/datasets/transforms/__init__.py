"""From a record of the data set to tensors: load, choose sentences, letterbox, tokenize, pack."""

from cmmasksd.datasets.transforms.formatting import PackReferringInputs
from cmmasksd.datasets.transforms.geometry import FlipWithSentence, LetterboxResize
from cmmasksd.datasets.transforms.loading import LoadReferringImage, LoadReferringMasks
from cmmasksd.datasets.transforms.text import SelectSentences, TokenizeExpressions

__all__ = [
    'FlipWithSentence',
    'LetterboxResize',
    'LoadReferringImage',
    'LoadReferringMasks',
    'PackReferringInputs',
    'SelectSentences',
    'TokenizeExpressions',
]
