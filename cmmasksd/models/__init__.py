"""Everything that MODELS builds."""

from cmmasksd.models.backbones import (
    ImageBackboneAdapter,
    OpenCLIPResNet,
    OpenCLIPVisionTransformer,
    TimmBackbone,
)
from cmmasksd.models.data_preprocessor import ReferringDataPreprocessor
from cmmasksd.models.decode_heads import DecodeHeadAdapter, VisionLanguageDecodeHead
from cmmasksd.models.dice import DiceLoss
from cmmasksd.models.distillation import AMLRIS, LMVSD, VMLSD, DropoutSelfDistillation, MaskRIS
from cmmasksd.models.necks import CrossModalFPN
from cmmasksd.models.segmentors import ReferringSegmentor, ReferringTTAModel
from cmmasksd.models.text_encoders import HuggingFaceTextEncoder, OpenCLIPTextTransformer

__all__ = [
    'AMLRIS',
    'LMVSD',
    'VMLSD',
    'CrossModalFPN',
    'DecodeHeadAdapter',
    'DiceLoss',
    'DropoutSelfDistillation',
    'HuggingFaceTextEncoder',
    'ImageBackboneAdapter',
    'MaskRIS',
    'OpenCLIPResNet',
    'OpenCLIPTextTransformer',
    'OpenCLIPVisionTransformer',
    'ReferringDataPreprocessor',
    'ReferringSegmentor',
    'ReferringTTAModel',
    'TimmBackbone',
    'VisionLanguageDecodeHead',
]
