"""Necks: fuse the image's levels with the sentence."""

from cmmasksd.models.necks.cross_modal_fpn import CrossModalFPN

__all__ = ['CrossModalFPN']
