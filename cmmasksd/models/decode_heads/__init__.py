"""Decode heads: from fused features and words to logits."""

from cmmasksd.models.decode_heads.adapter import DecodeHeadAdapter
from cmmasksd.models.decode_heads.pixel_classifier import PixelClassifierHead
from cmmasksd.models.decode_heads.vision_language_head import VisionLanguageDecodeHead

__all__ = ['DecodeHeadAdapter', 'PixelClassifierHead', 'VisionLanguageDecodeHead']
