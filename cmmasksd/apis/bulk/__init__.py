"""Tables of pictures and sentences, in bulk.

``tables`` reads them, ``answering`` asks the model and goes on where a row is bad, ``journal`` keeps the answers so
that a run which was killed goes on, ``segmenting`` does all this, and ``predictor`` is the same as a callable class for
Ray Data.
"""

from cmmasksd.apis.bulk.answering import Failure, Request, answer
from cmmasksd.apis.bulk.predictor import ReferringPredictor
from cmmasksd.apis.bulk.segmenting import Report, digest, segment_table
from cmmasksd.apis.bulk.tables import read_requests

__all__ = ['Failure', 'ReferringPredictor', 'Report', 'Request', 'answer', 'digest', 'read_requests', 'segment_table']
