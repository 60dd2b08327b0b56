"""An evaluator for anyone's masks: predictions in a file, scored as one of the published evaluations scores them."""

from cmmasksd.scoring.predictions import Prediction, PredictionError, read_predictions
from cmmasksd.scoring.protocols import PROTOCOLS, Protocol
from cmmasksd.scoring.scores import Answer, answer_questions, refine, score
from cmmasksd.scoring.truth import Question, read_questions

__all__ = [
    'PROTOCOLS',
    'Answer',
    'Prediction',
    'PredictionError',
    'Protocol',
    'Question',
    'answer_questions',
    'read_predictions',
    'read_questions',
    'refine',
    'score',
]
