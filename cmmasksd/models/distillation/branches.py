"""The two masked self-distillation branches (Sec. 3.2)."""

from __future__ import annotations

from typing import Any, Literal, get_args

from torch import nn

from cmmasksd.models.distillation.base import MaskedSelfDistillation
from cmmasksd.models.distillation.correlation import correlate, mask_tokens
from cmmasksd.registry import MODELS
from cmmasksd.structures import BranchFeatures, MainBranch, gather_images

Maskable = Literal['words', 'sequence']


@MODELS.register_module()
class LMVSD(MaskedSelfDistillation):
    """Language-guided masked visual self-distillation (Eq. 3 to 5): masks the patches that the sentence points at.

    Patch embeddings are masked before positions are added, so a masked patch keeps its place. Arguments: see the base
    class.
    """

    masked_side = 'image'

    def __init__(self, top_k: float = 0.5, mask_ratio: float = 0.25, loss_weight: float = 0.75, **kwargs: Any) -> None:
        super().__init__(top_k=top_k, mask_ratio=mask_ratio, loss_weight=loss_weight, **kwargs)

    def student(self, segmentor: nn.Module, main: MainBranch) -> BranchFeatures:
        patches = gather_images(main.visual.patches, main.image_index)  # (E, N, C)
        masked = segmentor.spread_mask(
            self.choose(correlate(main.text.comparable(main.visual).sentence, patches))
        )  # (E, M)
        embeddings = gather_images(main.patch_embeddings, main.embedding_index)  # (E, M, D)
        embeddings = mask_tokens(embeddings, masked, self.mask_token)
        visual, text = segmentor.encode_pair(embeddings, main.word_embeddings, main.input_ids, text=main.text)
        return BranchFeatures(segmentor.project(visual, neck=self.neck), text, image_index=None)


@MODELS.register_module()
class VMLSD(MaskedSelfDistillation):
    """Visual-guided masked language self-distillation (Eq. 6 to 8): masks the word tokens that the image points at.

    The image is untouched, so a shared neck's projections of the main branch serve as they are; an own neck projects
    the main branch's levels. Where the image's features depend on the sentence, they are made anew from the student's.
    As printed, Eq. 8 has no image grid to predict a mask on; it is read as Neck(V_local, w'_global) and Decoder(F,
    W'_local).

    Args:
        top_k, mask_ratio, loss_weight: see the base class, as are the other arguments.
        maskable: what the paper's N counts. ``words``: this expression's word tokens, so that SOT, EOT and padding are
            never masked; of RefCOCO's 3 to 4 words about one is masked, whatever a small ``mask_ratio`` says, unless
            ``rounding`` is ``stochastic``. ``sequence``: all L tokens.

    Raises:
        ValueError: an unknown ``maskable``, and what the base class raises.
    """

    masked_side = 'text'

    def __init__(
        self,
        top_k: float = 0.5,
        mask_ratio: float = 0.1,
        loss_weight: float = 0.1,
        maskable: Maskable = 'words',
        **kwargs: Any,
    ) -> None:
        super().__init__(top_k=top_k, mask_ratio=mask_ratio, loss_weight=loss_weight, **kwargs)
        if maskable not in get_args(Maskable):
            raise ValueError(f"maskable is 'words' or 'sequence', got {maskable!r}.")
        self.maskable = maskable

    def student(self, segmentor: nn.Module, main: MainBranch) -> BranchFeatures:
        pooled = gather_images(main.visual.pooled, main.image_index)  # (E, C)
        valid = main.text.word_tokens if self.maskable == 'words' else None
        masked = self.choose(correlate(pooled, main.text.comparable(main.visual).tokens), valid)
        words = mask_tokens(main.word_embeddings, masked, self.mask_token)
        if segmentor.image_needs_text:
            visual, text = segmentor.encode_pair(main.patch_embeddings, words, main.input_ids, main.embedding_index)
        else:
            visual, text = main.visual, segmentor.encode_text(words, main.input_ids)
            if self.shared:
                return BranchFeatures(main.projected, text, main.image_index)
        return BranchFeatures(segmentor.project(visual, neck=self.neck), text, main.image_index)
