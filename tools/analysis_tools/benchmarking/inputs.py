"""Random batches of a config's real size, and the config at another size."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.structures import InstanceData
from mmseg.structures import SegDataSample

from cmmasksd.engine.leaves import leaf_configs
from cmmasksd.registry import MODELS, TRANSFORMS
from cmmasksd.structures import Letterbox

SOT, EOT = 49406, 49407
PICTURE = (480, 640)  # height and width of most of COCO's pictures
WORDS = (1, 8)  # word tokens of an expression, at most as the token length allows
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def step_of(cfg: Config, kind: str) -> Any:
    """The step of that type in the training pipeline, of the first data set where several are joined.

    Raises:
        ValueError: there is none.
    """
    for step in next(leaf_configs(cfg.train_dataloader.dataset)).pipeline:
        if step['type'].rsplit('.')[-1] == kind:
            return ConfigDict(step)  # a list that a config made anew holds plain dicts
    raise ValueError(f"{cfg.filename}: train_dataloader's pipeline has no {kind}, from which the inputs' size is read.")


def input_size(cfg: Config) -> tuple[int, int]:
    """(H, W) of the network's input."""
    height, width = step_of(cfg, 'LetterboxResize').size
    return height, width


def at_size(cfg: Config, side: int | tuple[int, int]) -> Config:
    """A copy of the config with inputs of another size, H and W, or square ones."""
    cfg, size = copy.deepcopy(cfg), (side, side) if isinstance(side, int) else (side[0], side[1])
    set_where_known(cfg.model.backbone, 'image_size', size)
    inner = cfg.model.backbone.get('backbone', {})
    inner.update({name: size for name in ('img_size',) if name in inner})  # timm's and mmseg's, in an adapter
    datasets = [each for loader in LOADERS if loader in cfg for each in leaf_configs(cfg[loader].dataset)]
    for step in (step for each in datasets for step in each.pipeline):
        if step['type'].rsplit('.')[-1] == 'LetterboxResize':
            step['size'] = size
    return cfg


def set_where_known(part: dict[str, Any], setting: str, value: Any) -> None:
    """Sets an argument of a part's config, where the part has it."""
    if setting in inspect.signature(MODELS.get(part['type'])).parameters:
        part[setting] = value


def random_batch(cfg: Config, counts: Sequence[int], training: bool, seed: int = 0) -> dict[str, Any]:
    """What the dataloader gives: ``counts`` expressions of each image.

    Masks are letterboxed floats in training; in evaluation they have the picture's own size, as the metric wants them.
    """
    random = torch.Generator().manual_seed(seed)
    size, tokenize = input_size(cfg), step_of(cfg, 'TokenizeExpressions')
    images, samples = [], []
    for count in counts:
        images.append(torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=random))
        sample = SegDataSample(
            metainfo=dict(letterbox=Letterbox.fit(PICTURE, size), ori_shape=PICTURE, img_shape=size, img_path='random')
        )
        masks = torch.zeros(count, *(size if training else PICTURE), dtype=torch.float32 if training else torch.bool)
        masks[:, masks.shape[1] // 4 : masks.shape[1] // 2, : masks.shape[2] // 3] = 1
        ids = torch.stack([random_ids(tokenize, random) for _ in range(count)])
        sample.expressions = InstanceData(texts=['random'] * count, input_ids=ids, masks=masks)
        samples.append(sample)
    return dict(inputs=images, data_samples=samples)


def pinned(batch: dict[str, Any]) -> dict[str, Any]:
    """A copy of the batch in pinned memory, masks and ids too."""
    samples = [sample.clone() for sample in batch['data_samples']]
    for sample in samples:
        sample.expressions = sample.expressions.clone()
        for name in ('input_ids', 'masks'):
            setattr(sample.expressions, name, getattr(sample.expressions, name).pin_memory())
    return dict(inputs=[image.pin_memory() for image in batch['inputs']], data_samples=samples)


def random_ids(tokenize: Config, random: torch.Generator) -> torch.Tensor:
    """(L,) ids: SOT, some word tokens, EOT, padding; where the pipeline names a tokenizer, its tokens of some words."""
    length = tokenize.token_length
    words = int(torch.randint(WORDS[0], min(WORDS[1], length - 2) + 1, (), generator=random))
    if tokenize.get('tokenizer') is not None:
        return torch.from_numpy(TRANSFORMS.build(tokenize).transform(dict(texts=['zebra ' * words]))['input_ids'][0])
    ids = torch.zeros(length, dtype=torch.int64)
    ids[0], ids[words + 1] = SOT, EOT
    ids[1 : words + 1] = torch.randint(1, SOT, (words,), generator=random)
    return ids


def singles(batch: dict[str, Any]) -> list[dict[str, Any]]:
    """The same expressions one at a time, each with its image."""
    parts = []
    for image, sample in zip(batch['inputs'], batch['data_samples']):
        for place in range(len(sample.expressions)):
            single = sample.new()
            single.expressions = sample.expressions[place : place + 1]
            parts.append(dict(inputs=[image], data_samples=[single]))
    return parts
