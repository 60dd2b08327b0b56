"""Masked self-distillation: correlation filtering and the two branches."""

from cmmasksd.models.distillation.branches import LMVSD, VMLSD, MaskedSelfDistillation

__all__ = ['LMVSD', 'VMLSD', 'MaskedSelfDistillation']
