"""A relative: what agrees least with the sentence is masked, and the student learns from the ground truth."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from cmmasksd.models.distillation.base import SelfDistillation
from cmmasksd.models.distillation.correlation import choose_masked, mask_tokens
from cmmasksd.registry import MODELS
from cmmasksd.structures import BranchFeatures, MainBranch, gather_images


@MODELS.register_module()
class AMLRIS(SelfDistillation):
    """Alignment-aware masked learning (arXiv 2602.22740), on this project's features.

    A patch's alignment is the largest share that one word has in its softmax over the sentence's words. Of the patches
    below ``threshold`` a share of ``mask_ratio`` is masked at random, and the student is held to the ground truth with
    the main branch's own weight, as in the public code, https://github.com/pipashu1/AMLRIS. Masked means there that the
    normalised pixels are 0; a patch embedding without a bias, such as CLIP's, makes 0 of them, and so does this one.
    There the features are Swin's and BERT's, compared through a projection that nothing trains; here they are those of
    the joint space. Where all patches are above the threshold, none is masked.

    Args:
        threshold: of alignment, in (0, 1].
        mask_ratio: share of the patches below it that are masked, in (0, 1].
        loss_weight: see the base class, as are the other arguments.

    Raises:
        ValueError: a share outside (0, 1], and what the base class raises.
    """

    def __init__(
        self, threshold: float = 0.4, mask_ratio: float = 0.25, loss_weight: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(loss_weight=loss_weight, **kwargs)
        if not (0 < threshold <= 1 and 0 < mask_ratio <= 1):
            raise ValueError(f'threshold and mask_ratio are shares in (0, 1], got {threshold} and {mask_ratio}.')
        self.threshold = threshold
        self.mask_ratio = mask_ratio

    def student(self, segmentor: nn.Module, main: MainBranch) -> BranchFeatures:
        patches = gather_images(main.visual.patches, main.image_index)  # (E, N, C)
        low = align(patches, main.text.comparable(main.visual).tokens, main.text.word_tokens) < self.threshold
        masked = choose_masked(torch.zeros_like(low, dtype=torch.float32), 1.0, self.mask_ratio, low)
        embeddings = gather_images(main.patch_embeddings, main.embedding_index)  # (E, M, D)
        nothing = embeddings.new_zeros(embeddings.shape[-1])
        embeddings = mask_tokens(embeddings, segmentor.spread_mask(masked), nothing)
        visual, text = segmentor.encode_pair(embeddings, main.word_embeddings, main.input_ids, text=main.text)
        return BranchFeatures(segmentor.project(visual, neck=self.neck), text, image_index=None)

    def loss(
        self, logits: Tensor, main_logits: Tensor, name: str = 'loss', target: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The branch's loss to the ground truth; see the base class."""
        assert target is not None
        return self.weighted_loss(logits, target, name)


@torch.no_grad()
def align(patches: Tensor, tokens: Tensor, words: Tensor) -> Tensor:
    """How surely each patch agrees with one word of its sentence.

    Args:
        patches: (E, N, C), in the joint space.
        tokens: (E, L, C), in the joint space.
        words: (E, L) bool, the tokens that are words; a row without any takes all tokens.

    Returns:
        (E, N), the largest share in the softmax over the words of patch times token.
    """
    words = words | ~words.any(dim=1, keepdim=True)
    scores = torch.bmm(patches, tokens.transpose(1, 2)).float().masked_fill(~words.unsqueeze(1), float('-inf'))
    return scores.softmax(dim=2).amax(dim=2)
