"""Whether a picture finds its caption among others, and a caption its picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor, nn

from cmmasksd.datasets.captions import CaptionedPictures, CaptionLoader, distinct_batches
from cmmasksd.engine.leaves import leaf_configs

TOKEN_LENGTH = 40  # of captions, where the text tower takes any
AT_A_TIME = 32  # captions that are encoded together
WHOLE = dict(pictures=1.0, objects=0.0)


@torch.no_grad()
def measure(model: nn.Module, cfg: Config, split: str, pool: int, pools: int, seed: int) -> dict[str, dict[str, float]]:
    """Recall@1 in percent, among ``pool`` pictures and as many captions.

    Args:
        model: a segmentor, in evaluation mode.
        cfg: its config.
        split: of the test data set.
        pool: how many; captions differ, and so do whole pictures.
        pools: at most so many are averaged.
        seed: of what is drawn.

    Returns:
        For ``pictures`` (whole, with their sentences joined) and ``objects`` (cut out, with a sentence): ``to_text``,
        ``to_image``, ``chance`` and ``pools``; without those that the split cannot fill a pool with.
    """
    dataset = next(leaf_configs(cfg.test_dataloader.dataset))
    chosen = {key: dataset[key] for key in ('data_root', 'dataset', 'split_by', 'sentence_field') if key in dataset}
    pictures = CaptionedPictures(**chosen, split=split)
    tokenizer = next(step for step in dataset.pipeline if step.type.endswith('TokenizeExpressions')).get('tokenizer')
    tower = model.text_encoder
    length = min(max(TOKEN_LENGTH, getattr(tower, 'min_tokens', 0)), getattr(tower, 'max_tokens', TOKEN_LENGTH))
    found = {}
    for kind, whole in WHOLE.items():
        batches = distinct_batches(pictures.draw(whole, np.random.default_rng(seed)), pool)[:pools]
        loader = CaptionLoader(batches, tuple(model.backbone.image_size), length, tokenizer)
        recalls = [recall(*encode(model, *loader[index])) for index in range(len(batches))]
        if recalls:
            to_text, to_image = (100 * float(np.mean(each)) for each in zip(*recalls))
            found[kind] = dict(to_text=to_text, to_image=to_image, chance=100 / pool, pools=len(recalls))
    return found


def encode(model: nn.Module, images: np.ndarray, input_ids: np.ndarray) -> tuple[Tensor, Tensor]:
    """Pooled features and sentences of a pool, (B, C) each, of length 1."""
    device = next(model.parameters()).device
    preprocess: Any = model.data_preprocessor
    pooled, sentences = [], []
    for start in range(0, len(images), AT_A_TIME):
        pixels = torch.from_numpy(images[start : start + AT_A_TIME]).to(device).float()
        embeddings = model.embed_image((pixels - preprocess.mean) / preprocess.std)
        pooled.append(model.encode_image(embeddings).pooled)
        ids = torch.from_numpy(input_ids[start : start + AT_A_TIME]).to(device)
        sentences.append(model.encode_text(model.embed_text(ids), ids).sentence)
    return nn.functional.normalize(torch.cat(pooled), dim=1), nn.functional.normalize(torch.cat(sentences), dim=1)


def recall(pooled: Tensor, sentences: Tensor) -> tuple[float, float]:
    """Shares of pictures whose own caption is the nearest, and of captions: (B, C) twice."""
    scores, own = pooled @ sentences.T, torch.arange(len(pooled), device=pooled.device)
    return float((scores.argmax(1) == own).float().mean()), float((scores.argmax(0) == own).float().mean())
