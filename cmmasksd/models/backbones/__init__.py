"""Image encoders."""

from cmmasksd.models.backbones.adapter import ImageBackboneAdapter
from cmmasksd.models.backbones.language_aligned_vit import LanguageAlignedViT
from cmmasksd.models.backbones.language_aware_swin import LanguageAwareSwin
from cmmasksd.models.backbones.open_clip_resnet import OpenCLIPResNet
from cmmasksd.models.backbones.open_clip_vit import OpenCLIPVisionTransformer
from cmmasksd.models.backbones.timm_backbone import TimmBackbone

__all__ = [
    'ImageBackboneAdapter',
    'LanguageAlignedViT',
    'LanguageAwareSwin',
    'OpenCLIPResNet',
    'OpenCLIPVisionTransformer',
    'TimmBackbone',
]
