"""Image encoders."""

from cmmasksd.models.backbones.open_clip_vit import OpenCLIPVisionTransformer

__all__ = ['OpenCLIPVisionTransformer']
