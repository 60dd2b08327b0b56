"""Everything that MODELS builds."""

from cmmasksd.models.backbones import (
    ImageBackboneAdapter,
    LanguageAlignedViT,
    LanguageAwareSwin,
    OpenCLIPResNet,
    OpenCLIPVisionTransformer,
    TimmBackbone,
)
from cmmasksd.models.bridges import StageBridge
from cmmasksd.models.class_weighted import ClassWeightedBCELoss
from cmmasksd.models.data_preprocessor import ReferringDataPreprocessor
from cmmasksd.models.decode_heads import DecodeHeadAdapter, PixelClassifierHead, VisionLanguageDecodeHead
from cmmasksd.models.dice import DiceLoss
from cmmasksd.models.distillation import AMLRIS, LMVSD, VMLSD, DropoutSelfDistillation, MaskRIS
from cmmasksd.models.necks import CrossModalFPN, SentenceGatedNeck, TopDownNeck
from cmmasksd.models.segmentors import ReferringSegmentor, ReferringTTAModel
from cmmasksd.models.text_encoders import HuggingFaceTextEncoder, OpenCLIPTextTransformer

__all__ = [
    'AMLRIS',
    'LMVSD',
    'VMLSD',
    'ClassWeightedBCELoss',
    'CrossModalFPN',
    'DecodeHeadAdapter',
    'DiceLoss',
    'DropoutSelfDistillation',
    'HuggingFaceTextEncoder',
    'ImageBackboneAdapter',
    'LanguageAlignedViT',
    'LanguageAwareSwin',
    'MaskRIS',
    'OpenCLIPResNet',
    'OpenCLIPTextTransformer',
    'OpenCLIPVisionTransformer',
    'PixelClassifierHead',
    'ReferringDataPreprocessor',
    'ReferringSegmentor',
    'ReferringTTAModel',
    'SentenceGatedNeck',
    'StageBridge',
    'TimmBackbone',
    'TopDownNeck',
    'VisionLanguageDecodeHead',
]
