"""Python API."""

from cmmasksd.apis.inference import inference_model, init_model, show_result_pyplot
from cmmasksd.apis.inferencer import ReferringInferencer, ReferringResult
from cmmasksd.shipped import find_config, list_models

__all__ = [
    'ReferringInferencer',
    'ReferringResult',
    'find_config',
    'inference_model',
    'init_model',
    'list_models',
    'show_result_pyplot',
]
