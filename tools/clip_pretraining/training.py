"""The contrastive training itself: open_clip's loss, Adam with decoupled weight decay, a warm-up and a cosine."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from open_clip import ClipLoss
from torch import Tensor
from torch.utils.data import DataLoader

from cmmasksd.datasets.captions import CaptionedPictures, CaptionLoader, distinct_batches

from .towers import Towers

HIGHEST_SCALE = math.log(100)  # of the logits, as CLIP bounds it
WARM_UP = 0.05  # of all steps


@dataclass(frozen=True)
class Settings:
    """Of a training; the arguments of the tool."""

    epochs: int
    batch_size: int
    lr: float
    whole: float
    patch_weight: float
    token_length: int
    tokenizer: str | None
    seed: int
    num_workers: int


def train(towers: Towers, pictures: CaptionedPictures, settings: Settings, device: torch.device) -> Iterator[str]:
    """Trains; gives a line after each epoch.

    Raises:
        ValueError: the set has too few different captions for a batch.
    """
    draws = [np.random.default_rng((settings.seed, epoch)) for epoch in range(settings.epochs)]
    epochs = [distinct_batches(pictures.draw(settings.whole, rng), settings.batch_size) for rng in draws]
    if not all(epochs):
        raise ValueError(f'the set fills no batch of {settings.batch_size} different captions: set --batch-size lower')
    optimiser = optimiser_of(towers, settings.lr)
    total = sum(map(len, epochs))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate(step, total))
    begin = time.monotonic()
    for epoch, batches in enumerate(epochs, start=1):
        loader = CaptionLoader(batches, towers.image.image_size, settings.token_length, settings.tokenizer)
        loss, right = one_epoch(towers, loader, settings, optimiser, schedule, device)
        yield (
            f'epoch {epoch}/{settings.epochs}: {len(batches)} batches, loss {loss:.3f}, {right:.1%} of the pictures '
            f'nearest to their own caption of {settings.batch_size}, {time.monotonic() - begin:.0f} s'
        )


def one_epoch(
    towers: Towers,
    captions: CaptionLoader,
    settings: Settings,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    device: torch.device,
) -> tuple[float, float]:
    """Mean loss of the pooled feature, and the share of pictures whose own caption scores highest in the batch."""
    contrast, losses, right = ClipLoss(), [], []
    towers.train()
    for images, input_ids in DataLoader(captions, batch_size=None, num_workers=settings.num_workers):
        pooled, patches, text = towers(images.to(device), input_ids.to(device))
        scale = towers.logit_scale.exp()
        loss = contrast(pooled, text, scale)
        losses.append(loss.detach())
        right.append(share_right(pooled, text))
        if settings.patch_weight:
            loss = loss + settings.patch_weight * contrast(patches, text, scale)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            towers.logit_scale.clamp_(max=HIGHEST_SCALE)
    return float(torch.stack(losses).mean()), float(torch.stack(right).mean())


@torch.no_grad()
def share_right(pooled: Tensor, text: Tensor) -> Tensor:
    """The share of rows that are most like the same row of the other side: (B, C) twice -> ()."""
    return ((pooled @ text.T).argmax(dim=1) == torch.arange(len(text), device=text.device)).float().mean()


def rate(step: int, total: int) -> float:
    """Share of the learning rate: a line up, then half a cosine down."""
    warm_up = max(1, round(WARM_UP * total))
    if step < warm_up:
        return (step + 1) / warm_up
    return (1 + math.cos(math.pi * (step - warm_up) / max(1, total - warm_up))) / 2


def optimiser_of(towers: Towers, lr: float) -> torch.optim.Optimizer:
    """AdamW as CLIP was trained: no weight decay on vectors and on the scale."""
    parameters = [parameter for parameter in towers.parameters() if parameter.requires_grad]
    groups = [
        dict(params=[each for each in parameters if each.ndim >= 2], weight_decay=0.1),
        dict(params=[each for each in parameters if each.ndim < 2], weight_decay=0.0),
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), eps=1e-6)
