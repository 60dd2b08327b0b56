"""What a perfect model scores: python tools/analysis_tools/mask_ceiling.py configs/cm_masksd/vit-b_refcoco.py

Every mask of a split goes to the logits' grid as in training, comes back as in prediction and is compared with itself
at the picture's own size. What is lost is lost by geometry: grid, letterbox and threshold. No model is built.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import torch
from mmengine.config import Config
from prettytable import PrettyTable
from rich.progress import track

from cmmasksd.cfg_options import CfgOptions, merge_options
from cmmasksd.datasets.transforms import LetterboxResize
from cmmasksd.engine.leaves import leaf_configs
from cmmasksd.models.mask_alignment import logits_to_masks, masks_to_logits
from cmmasksd.registry import DATASETS
from cmmasksd.shipped import open_config

THRESHOLDS = (0.35, 0.5)


def masks_of(cfg: Config, split: str) -> Iterator[np.ndarray]:
    """The masks (K, height, width) bool of each picture of a split."""
    dataset_config = next(leaf_configs(cfg.test_dataloader.dataset))
    kinds = ('LoadReferringImage', 'SelectSentences', 'LoadReferringMasks')
    steps = [step for step in dataset_config.pipeline if step.type.rsplit('.')[-1] in kinds]
    dataset = DATASETS.build({**dataset_config, 'split': split, 'pipeline': steps})
    for item in track(dataset, description=f'{split}: pictures'):
        yield item['masks']


def come_back(masks: np.ndarray, size: tuple[int, int], grid: tuple[int, int], alignment: str) -> torch.Tensor:
    """Masks (K, height, width) -> probabilities (K, height, width), over logits (K, 1, *grid) that say them exactly."""
    results = LetterboxResize(size).transform(dict(img=np.zeros((*masks.shape[1:], 3), np.uint8), masks=masks))
    shares = masks_to_logits(torch.from_numpy(results['masks'])[:, None], grid, alignment)
    return results['letterbox'].undo(logits_to_masks(shares, size, alignment)[:, 0])


def measure(cfg: Config, split: str) -> dict[tuple[str, float], list[float]]:
    """The IoU of each mask with itself, by alignment and threshold."""
    backbone = cfg.model.backbone
    size = backbone.image_size if isinstance(backbone.image_size, (list, tuple)) else (backbone.image_size,) * 2
    patch = patch_size(cfg)
    grid = (4 * size[0] // patch, 4 * size[1] // patch)
    found: dict[tuple[str, float], list[float]] = {}
    for masks in masks_of(cfg, split):
        truth = torch.from_numpy(masks)
        for alignment in ('area', 'cris'):
            probabilities = come_back(masks, tuple(size), grid, alignment)
            for threshold in THRESHOLDS:
                mask = probabilities > threshold
                shared, either = ((mask & truth).flatten(1).sum(1), (mask | truth).flatten(1).sum(1))
                found.setdefault((alignment, threshold), []).extend((shared / either).tolist())
    return found


def patch_size(cfg: Config) -> int:
    """Of the image tower; the decode head's logits stand four to a patch's side."""
    from cmmasksd.models.open_clip_tower import get_architecture

    return get_architecture(cfg.model.backbone.architecture)['vision_cfg']['patch_size']


def main() -> None:
    parser = argparse.ArgumentParser(description='Measure what a perfect model would score.')
    parser.add_argument('config', help='config file, or the name of a shipped one')
    parser.add_argument('--split', default='val', help='split of its test data set (default: val)')
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptions, help='overrides, such as data roots')
    args = parser.parse_args()
    cfg = open_config(args.config)
    merge_options(cfg, args.cfg_options)
    table = PrettyTable(['mask_alignment', 'threshold', 'mIoU', 'Pr@0.9', 'masks'], align='r')
    for (alignment, threshold), values in measure(cfg, args.split).items():
        ious = np.array(values)
        table.add_row([alignment, threshold, f'{100 * ious.mean():.2f}', f'{100 * (ious > 0.9).mean():.2f}', len(ious)])
    print(table)


if __name__ == '__main__':
    main()
