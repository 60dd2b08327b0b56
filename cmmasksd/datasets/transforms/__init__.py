"""From a record of the data set to tensors: load, choose sentences, letterbox, tokenize, pack."""

from .formatting import PackReferringInputs
from .geometry import FlipWithSentence, LetterboxResize
from .loading import LoadReferringImage, LoadReferringMasks
from .text import SelectSentences, TokenizeExpressions

__all__ = [
    'FlipWithSentence',
    'LetterboxResize',
    'LoadReferringImage',
    'LoadReferringMasks',
    'PackReferringInputs',
    'SelectSentences',
    'TokenizeExpressions',
]
