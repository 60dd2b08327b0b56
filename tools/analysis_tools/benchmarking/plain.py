"""The same work done the plain way, to compare with: nothing shared, nothing fused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from cmmasksd.models.convolutions import UpsampleConvBNReLU, upsample_conv3x3
from cmmasksd.models.distillation.correlation import correlate, mask_tokens
from cmmasksd.models.layers import frozen_statistics
from cmmasksd.models.mask_alignment import masks_to_logits


@contextmanager
def plain_kernels() -> Iterator[None]:
    """Attention that writes all scores down, maps that are enlarged before they are convolved, all in float32."""
    with (
        sdpa_kernel(SDPBackend.MATH),
        torch.autocast('cpu', enabled=False),
        torch.autocast('cuda', enabled=False),
        patch.object(UpsampleConvBNReLU, 'forward', enlarge_and_convolve),
    ):
        yield


def convolve_on_small_map(block: UpsampleConvBNReLU, features: Tensor) -> Tensor:
    """The block's forward, its taps applied before the map is enlarged."""
    return block.normalise(upsample_conv3x3(features, block.get_parameter('0.weight')))


def enlarge_and_convolve(block: UpsampleConvBNReLU, features: Tensor) -> Tensor:
    """The block's forward as CRIS does it."""
    enlarged = F.interpolate(features, scale_factor=2, mode='bilinear', align_corners=False)
    return nn.Sequential.forward(block, enlarged)


def plain_loss(model: nn.Module, inputs: Tensor, input_ids: Tensor, masks: Tensor) -> dict[str, Tensor]:
    """The losses of a training step with one expression an image, each branch a whole pass of its own.

    With equal masked positions and without dropout they are those of ``ReferringSegmentor.loss``.

    Args:
        model: a ReferringSegmentor, with the branches it has.
        inputs: normalised images (B, 3, H, W).
        input_ids: (B, L).
        masks: (B, 1, H, W) in [0, 1].
    """
    main = model.encode(inputs, input_ids)
    main_logits = model.segment(main)
    target = masks_to_logits(masks, main_logits.shape[2:], model.mask_alignment)
    losses = model.decode_head.loss_decode(main_logits, target, 'loss_seg')
    with frozen_statistics(model):
        for name, branch in model.distillation.items():
            patches, words = model.embed_image(inputs), model.embed_text(input_ids)
            guide = main.text.comparable(main.visual)
            if branch.masked_side == 'image':
                chosen = branch.choose(correlate(guide.sentence, main.visual.patches))
                patches = mask_tokens(patches, chosen, branch.mask_token)
            else:
                valid = main.text.word_tokens if branch.maskable == 'words' else None
                chosen = branch.choose(correlate(main.visual.pooled, guide.tokens), valid)
                words = mask_tokens(words, chosen, branch.mask_token)
            visual, text = model.encode_pair(patches, words, input_ids)
            fused = model.fuse(model.project(visual, neck=branch.neck), text.sentence, None, neck=branch.neck)
            logits = model.decode(fused, text, decode_head=branch.decode_head)
            losses |= branch.loss(logits, main_logits, f'loss_{name}')
    return losses
