"""Segmentors: compose encoders, neck, head and distillation branches."""

from cmmasksd.models.segmentors.referring_segmentor import ReferringSegmentor
from cmmasksd.models.segmentors.referring_tta import ReferringTTAModel

__all__ = ['ReferringSegmentor', 'ReferringTTAModel']
