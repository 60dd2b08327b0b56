"""Python API."""

from cmmasksd.apis.inference import inference_model, init_model, show_result_pyplot
from cmmasksd.apis.inferencer import ReferringInferencer
from cmmasksd.apis.mm_inferencer import MMReferringInferencer
from cmmasksd.apis.prepared import EncodedPicture, PreparedPicture
from cmmasksd.apis.results import ReferringResult
from cmmasksd.shipped import find_config, list_models

__all__ = [
    'EncodedPicture',
    'MMReferringInferencer',
    'PreparedPicture',
    'ReferringInferencer',
    'ReferringResult',
    'find_config',
    'inference_model',
    'init_model',
    'list_models',
    'show_result_pyplot',
]
