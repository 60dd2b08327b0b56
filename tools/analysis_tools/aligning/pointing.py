"""Whether the patches that correlate most with a sentence lie on the object that it names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from rich.progress import track
from torch import Tensor, nn

from cmmasksd.datasets.transforms.geometry import place_masks
from cmmasksd.engine.leaves import leaf_configs
from cmmasksd.models.distillation.correlation import choose_masked, correlate
from cmmasksd.registry import DATASETS
from cmmasksd.structures import gather_images


def pictures_of(cfg: Config, split: str, count: int) -> BaseDataset:
    """Pictures of a split with all their sentences, ``count`` of them, spread over it; fewer where it has fewer."""
    config = next(leaf_configs(cfg.test_dataloader.dataset))
    dataset = DATASETS.build({**config, 'split': split})
    if len(dataset) > count:
        dataset = dataset.get_subset(np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist())
    return dataset


def correlations(model: nn.Module, dataset: Any, title: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Picture by picture: scores (K, N) as LMVSD takes them, and the shares of the patches that the object covers."""
    for item in track(dataset, description=title, transient=True):
        batch = model.data_preprocessor(dict(inputs=[item['inputs']], data_samples=[item['data_samples']]), False)
        visual = model.encode_image(model.embed_image(batch['inputs']))
        text = model.encode_text(model.embed_text(batch['input_ids']), batch['input_ids'])
        index = torch.zeros(len(batch['input_ids']), dtype=torch.long, device=batch['inputs'].device)
        scores = correlate(text.sentence, gather_images(visual.patches, index))
        yield scores.cpu(), covered_shares(item['data_samples'], tuple(visual.levels[2].shape[2:]))


def covered_shares(sample: Any, grid: tuple[int, int]) -> Tensor:
    """The share of each patch that the object covers: (K, N)."""
    masks = np.asarray(sample.expressions.masks.cpu())
    placed = torch.from_numpy(place_masks(masks, sample.letterbox))[:, None]
    return F.interpolate(placed, size=grid, mode='area').flatten(1)


@torch.no_grad()
def measure(model: nn.Module, dataset: Any, top_ks: Sequence[float], title: str) -> list[dict[str, float]]:
    """Of the most correlated patches, by share of all patches: how much of them lies on the object, how much of the
    object they cover.

    Args:
        model: a segmentor, in evaluation mode.
        dataset: of :func:`pictures_of`.
        top_ks: shares; one that is below a patch means the highest patch alone.
        title: of the progress.

    Returns:
        A dict for each share: ``on_object`` and ``covered`` in percent, each with what chance would give, and
        ``expressions``.
    """
    sums, count = np.zeros((len(top_ks), 4)), 0
    for scores, shares in correlations(model, dataset, title):
        count += len(scores)
        for place, top_k in enumerate(top_ks):
            chosen = choose_masked(scores, top_k, 1.0).float()
            hit = (chosen * shares).sum(1)
            columns = (hit / chosen.sum(1), shares.mean(1), hit / shares.sum(1), chosen.mean(1))
            sums[place] += [float(column.sum()) for column in columns]
    names = ('on_object', 'on_object_by_chance', 'covered', 'covered_by_chance')
    return [
        dict(top_k=top_k, expressions=count, **{name: 100 * value / count for name, value in zip(names, row)})
        for top_k, row in zip(top_ks, sums.tolist())
    ]
