"""A control: self-distillation without masks."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.functional import dropout

from cmmasksd.models.distillation.base import SelfDistillation
from cmmasksd.registry import MODELS
from cmmasksd.structures import BranchFeatures, MainBranch, gather_images


@MODELS.register_module()
class DropoutSelfDistillation(SelfDistillation):
    """A second pass that sees everything, through dropout, and answers as the main branch does.

    It costs what LMVSD and VMLSD together cost, and tells what of their effect comes from a second pass alone. R-Drop
    (arXiv 2106.14448) does likewise in language models.

    Args:
        rate: share of the numbers of patch and word embeddings that are dropped.
        loss_weight: see the base class, as are the other arguments.

    Raises:
        ValueError: a rate outside (0, 1), and what the base class raises.
    """

    def __init__(self, rate: float = 0.1, loss_weight: float = 0.75, **kwargs: Any) -> None:
        super().__init__(loss_weight=loss_weight, **kwargs)
        if not 0 < rate < 1:
            raise ValueError(f'rate is a share in (0, 1), got {rate}.')
        self.rate = rate

    def student(self, segmentor: nn.Module, main: MainBranch) -> BranchFeatures:
        words = dropout(main.word_embeddings, self.rate)
        embeddings = dropout(gather_images(main.patch_embeddings, main.embedding_index), self.rate)  # (E, M, D)
        visual, text = segmentor.encode_pair(embeddings, words, main.input_ids)
        return BranchFeatures(segmentor.project(visual, neck=self.neck), text, image_index=None)
