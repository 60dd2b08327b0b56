"""A relative: picture and sentence masked at random, and the student answers as the main branch does."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from cmmasksd.models.distillation.base import SelfDistillation
from cmmasksd.models.distillation.correlation import choose_masked, mask_tokens
from cmmasksd.registry import MODELS
from cmmasksd.structures import BranchFeatures, MainBranch, gather_images


@MODELS.register_module()
class MaskRIS(SelfDistillation):
    """Distortion-aware learning (arXiv 2411.19067), on this project's features: no correlation, both sides at once.

    A share of the picture's square blocks is zeroed, and each word, at random, replaced by a mask token or by any token
    of the vocabulary, as in the public code, https://github.com/naver-ai/maskris. There the pixels are zeroed before
    Swin sees them; a patch embedding without a bias, such as CLIP's, makes 0 of them, and so does this one. The mask
    token is BERT's there and a learnt one here, as CLIP has none. Both losses weigh the same there, 0.5 each.

    Args:
        mask_ratio: share of the blocks that are masked, in (0, 1].
        block: side of a block in patches of the features' grid; 2, with patches of 16 pixels, is MaskRIS's 32 pixels.
        word_ratio: chance of a word token to be drawn, in [0, 1].
        masked_words: share of the drawn words that become the mask token.
        random_words: share of them that become any token; what is left of them stays as it is.
        loss_weight: see the base class, as are the other arguments.

    Raises:
        ValueError: a share out of its bounds, a block below 1, and what the base class raises.
    """

    def __init__(
        self,
        mask_ratio: float = 0.75,
        block: int = 2,
        word_ratio: float = 0.15,
        masked_words: float = 0.8,
        random_words: float = 0.1,
        loss_weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(loss_weight=loss_weight, **kwargs)
        if not (0 < mask_ratio <= 1 and 0 <= word_ratio <= 1 and block >= 1):
            raise ValueError(
                f'mask_ratio is a share in (0, 1], word_ratio one in [0, 1] and block at least 1, got {mask_ratio}, '
                f'{word_ratio} and {block}.'
            )
        if min(masked_words, random_words) < 0 or masked_words + random_words > 1:
            raise ValueError(f'masked_words and random_words are parts of 1, got {masked_words} and {random_words}.')
        self.mask_token = nn.Parameter(torch.randn(self.embed_dims['text']) * 0.02)
        self.mask_ratio = mask_ratio
        self.block = block
        self.word_ratio = word_ratio
        self.masked_words = masked_words
        self.random_words = random_words

    def student(self, segmentor: nn.Module, main: MainBranch) -> BranchFeatures:
        words = self.distort_words(segmentor, main)
        embeddings = gather_images(main.patch_embeddings, main.embedding_index)  # (E, M, D)
        height, width = main.visual.levels[0].shape[2:]
        masked = segmentor.spread_mask(self.draw_blocks(len(embeddings), height, width, embeddings.device))
        nothing = embeddings.new_zeros(embeddings.shape[-1])
        visual, text = segmentor.encode_pair(mask_tokens(embeddings, masked, nothing), words, main.input_ids)
        return BranchFeatures(segmentor.project(visual, neck=self.neck), text, image_index=None)

    def draw_blocks(self, count: int, height: int, width: int, device: torch.device) -> Tensor:
        """Masks of blocks on a grid of patches: (count, height * width) bool; blocks at the far edges may be cut."""
        rows, columns = -(-height // self.block), -(-width // self.block)
        alike = torch.zeros(count, rows * columns, device=device)
        blocks = choose_masked(alike, 1.0, self.mask_ratio).view(count, 1, rows, columns)
        patches = interpolate(blocks.float(), scale_factor=self.block, mode='nearest')[:, 0, :height, :width]
        return patches.flatten(1).bool()

    def distort_words(self, segmentor: nn.Module, main: MainBranch) -> Tensor:
        """Word embeddings (E, L, D_t), some of them the mask token's, some those of other tokens."""
        text_encoder: Any = segmentor.text_encoder
        shape, device = main.input_ids.shape, main.input_ids.device
        drawn = (torch.rand(shape, device=device) < self.word_ratio) & main.text.word_tokens
        fate = torch.rand(shape, device=device)
        others = segmentor.embed_text(torch.randint(0, text_encoder.vocab_size, shape, device=device))
        replaced = drawn & (fate < self.masked_words + self.random_words)  # those below masked_words are masked then
        words = torch.where(replaced.unsqueeze(2), others, main.word_embeddings)
        return mask_tokens(words, drawn & (fate < self.masked_words), self.mask_token)
