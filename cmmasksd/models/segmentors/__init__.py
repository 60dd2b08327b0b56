"""Segmentors: compose encoders, neck, head and distillation branches."""

from cmmasksd.models.segmentors.referring_segmentor import ReferringSegmentor

__all__ = ['ReferringSegmentor']
