"""Necks: fuse the image's levels with the sentence."""

from cmmasksd.models.necks.cross_modal_fpn import CrossModalFPN
from cmmasksd.models.necks.sentence_gated import SentenceGatedNeck
from cmmasksd.models.necks.top_down import TopDownNeck

__all__ = ['CrossModalFPN', 'SentenceGatedNeck', 'TopDownNeck']
