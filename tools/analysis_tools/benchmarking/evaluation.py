"""Evaluation: all expressions of an image in one call, or one at a time as peers do it; and the same done plainly."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from cmmasksd.distributed import autocast
from cmmasksd.registry import METRICS, MODELS

from .comparing import Comparison, Variant, compare
from .counting import count_flops
from .inputs import input_size, random_batch, singles
from .plain import plain_kernels

# Of a probability, between two orders of summation. By default cuDNN convolves float32 in TF32.
TOLERANCE = {
    ('cpu', 'float32'): 1e-4,
    ('cpu', 'bfloat16'): 3e-2,
    ('cuda', 'float32'): 5e-3,
    ('cuda', 'bfloat16'): 6e-2,
}
IMAGES, EXPRESSIONS = 1500, 10834  # of RefCOCO's val split


def compare_evaluation(
    cfg: Config, count: int, device: torch.device, repeats: int, amp: bool, baseline: bool
) -> Comparison:
    """Times ``count`` expressions of one image: from pixels to masks at the picture's size.

    Raises:
        RuntimeError: grouped and single expressions do not give the same masks.
    """
    model = MODELS.build(cfg.model).to(device).eval()
    batch = random_batch(cfg, [count], training=False)
    dtype = 'bfloat16' if amp else 'float32'
    probabilities: dict[str, Tensor] = {}

    def variant(
        name: str, batches: list[dict[str, Any]], kernels: Callable[[], AbstractContextManager] = nullcontext
    ) -> Variant:
        plain = kernels is plain_kernels

        def work() -> None:
            with kernels():
                samples = predict(model, batches, amp and not plain)
            probabilities[name] = torch.cat([sample.predictions.probabilities for sample in samples])

        return Variant(work, count, 'float32' if plain else dtype)

    variants = {
        name: variant(name, batches) for name, batches in (('one at a time', singles(batch)), ('grouped', [batch]))
    }
    if baseline:
        variants['one at a time, plain'] = variant('one at a time, plain', singles(batch), plain_kernels)
    size = input_size(cfg)
    title = f'evaluation, {count} expressions of an image of {size[0]}x{size[1]}'
    comparison = compare(title, 'expression', variants, device, repeats, first='one at a time')
    facts = check_equal_masks(probabilities['one at a time'], probabilities['grouped'], TOLERANCE[device.type, dtype])
    return dataclasses.replace(comparison, facts=facts)


@torch.inference_mode()
def predict(model: nn.Module, batches: Sequence[dict[str, Any]], amp: bool) -> list[Any]:
    """The data samples with their predictions."""
    with autocast(enabled=amp):
        return [sample for batch in batches for sample in model.test_step(batch)]


def check_equal_masks(single: Tensor, grouped: Tensor, tolerance: float) -> dict[str, float]:
    """Compares probabilities (K, height, width), and the masks at a threshold that half of the pixels exceed, random
    weights or not.

    Returns:
        The number of pixels, how many of them differ between the masks, and the greatest difference of a probability.

    Raises:
        RuntimeError: probabilities differ by more than rounding.
    """
    threshold = single.median()
    difference = float((single - grouped).abs().max())
    if not difference <= tolerance:
        raise RuntimeError(
            f'Grouped and single expressions give other masks: probabilities differ by up to {difference:.2g}.'
        )
    return dict(
        pixels=single.numel(),
        differing_pixels=int(((single > threshold) != (grouped > threshold)).sum()),
        greatest_difference=difference,
    )


def compare_validation(
    cfg: Config, num_images: int, batch_size: int, device: torch.device, repeats: int, amp: bool
) -> Comparison:
    """Times an evaluation like RefCOCO val's (1,500 images, 10,834 expressions), cut to ``num_images``: predictions,
    and the metric's counts.
    """
    model = MODELS.build(cfg.model).to(device).eval()
    metric = METRICS.build(dict(type='cmmasksd.ReferringIoUMetric'))
    counts = [EXPRESSIONS * (number + 1) // IMAGES - EXPRESSIONS * number // IMAGES for number in range(num_images)]
    # a handful of batches, met again and again: all images at once would not fit the memory
    parts = [tuple(part) for part in _parts(counts, batch_size)]
    batches = {part: random_batch(cfg, part, training=False) for part in set(parts)}
    # counting takes longer than running: once for each kind
    flops = {part: count_flops(partial(predict, model, [batch], amp)) for part, batch in batches.items()}

    def work() -> None:
        metric.results.clear()
        for part in parts:
            samples = predict(model, [batches[part]], amp)
            metric.process(None, [sample.to_dict() for sample in samples])
        metric.compute_metrics(metric.results)

    total = sum(flops[part] for part in parts)
    variants = {'grouped': Variant(work, num_images, 'bfloat16' if amp else 'float32', flops=total)}
    comparison = compare(
        f'evaluation of {num_images} images, {sum(counts)} expressions',
        'image',
        variants,
        device,
        repeats,
        first='grouped',
    )
    return dataclasses.replace(comparison, facts=dict(images=num_images, expressions=sum(counts)))


def _parts(counts: list[int], size: int) -> list[list[int]]:
    return [counts[start : start + size] for start in range(0, len(counts), size)]
