"""Self-distillation: correlation filtering, the paper's two branches, its relatives' and controls."""

from cmmasksd.models.distillation.amlris import AMLRIS
from cmmasksd.models.distillation.base import MaskedSelfDistillation, SelfDistillation
from cmmasksd.models.distillation.branches import LMVSD, VMLSD
from cmmasksd.models.distillation.dropout import DropoutSelfDistillation
from cmmasksd.models.distillation.maskris import MaskRIS

__all__ = [
    'AMLRIS',
    'LMVSD',
    'VMLSD',
    'DropoutSelfDistillation',
    'MaskRIS',
    'MaskedSelfDistillation',
    'SelfDistillation',
]
