"""What the model is shown: python tools/analysis_tools/browse_dataset.py CONFIG --output-dir panels

Runs a loader's pipeline and draws each item: what the data set holds, and beside it what comes out: the letterboxed and
augmented picture, its masks and its sentences. Draws are those of the first epoch of a training with the config's seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmmasksd.arguments import positive, seconds, writable_folder
from cmmasksd.cfg_options import CfgOptions, merge_options
from cmmasksd.shipped import open_config

if TYPE_CHECKING:
    import numpy as np
    from mmengine.config import Config

NEEDED = ('img', 'texts', 'masks')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Draw what a pipeline makes of a data set.')
    parser.add_argument('config', help='config file, or the name of a shipped one')
    parser.add_argument('--phase', '-p', choices=['train', 'val', 'test'], default='train', help='default: train')
    parser.add_argument(
        '--mode',
        '-m',
        choices=['concat', 'original', 'transformed'],
        default='concat',
        help='what is drawn: both side by side (default), what the data set holds, or what the model is shown',
    )
    parser.add_argument(
        '--output-dir', '-o', metavar='DIR', type=writable_folder, help='write each item to a picture in this folder'
    )
    parser.add_argument('--not-show', action='store_true', help='open no window')
    parser.add_argument(
        '--show-interval', '-i', metavar='SECONDS', type=seconds, default=2, help='of a window (default: 2); 0 waits'
    )
    parser.add_argument('--show-number', '-n', metavar='N', type=positive, help='the first N items (default: all)')
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptions, help='overrides, such as data roots')
    args = parser.parse_args()
    if args.not_show and args.output_dir is None:
        parser.error('--not-show needs --output-dir, or nothing would be seen')
    return args


class Watched:
    """A pipeline that gives with its item what the data set held: ``original``, of picture, sentences and masks.

    Args:
        steps: the pipeline's transforms.
    """

    def __init__(self, steps: Sequence[Callable[[dict], dict]]) -> None:
        self.steps = steps

    def __call__(self, results: dict) -> dict:
        original = None
        for step in self.steps:
            results = step(results)
            if original is None and all(key in results for key in NEEDED):
                masks = results['masks'][results['mask_index']]
                original = (results['img'].copy(), list(results['texts']), masks)
        if original is None:
            raise ValueError(
                'The pipeline loads no picture with sentences and masks: it needs LoadReferringImage, SelectSentences '
                'and LoadReferringMasks.'
            )
        return dict(results, original=original)


def items(cfg: Config, phase: str) -> Iterator[dict[str, Any]]:
    """The items of a phase as its loader would give them in the first epoch, but in the data set's order."""
    from mmengine.registry import DefaultScope

    from cmmasksd.engine.draws import PlacedIndex, PlacedItems
    from cmmasksd.engine.leaves import leaf_datasets
    from cmmasksd.registry import DATASETS

    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'cmmasksd')):
        dataset = DATASETS.build(cfg[f'{phase}_dataloader'].dataset)
    for leaf in leaf_datasets(dataset):
        leaf.pipeline = Watched(leaf.pipeline.transforms)
    give = PlacedItems(dataset, (cfg.get('randomness') or {}).get('seed') or 0)
    for index in range(len(dataset)):
        yield give([PlacedIndex(index, 0)])[0]


def draw(item: dict[str, Any], mode: str) -> np.ndarray:
    """The panel of an item, (rows, columns, 3) uint8 RGB."""
    from cmmasksd.visualization import draw_pair, draw_panel

    shown = as_shown(item)
    if mode == 'concat':
        return draw_pair(item['original'], shown)
    picture, texts, masks = item['original'] if mode == 'original' else shown
    return draw_panel(picture, texts, ground_truth=masks)


def as_shown(item: dict[str, Any]) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Picture, sentences and masks as the model gets them; an evaluation's masks are letterboxed to lie on it."""
    from cmmasksd.datasets.transforms.geometry import place_masks

    sample = item['data_samples']
    picture, masks = item['inputs'].permute(1, 2, 0).numpy(), sample.expressions.masks.numpy()
    if masks.dtype == bool:
        masks = place_masks(masks, sample.letterbox)
    return picture, sample.expressions.texts, masks


def main() -> None:
    args = parse_args()
    cfg = open_config(args.config)
    merge_options(cfg, args.cfg_options)
    from mmengine.visualization import Visualizer
    from rich.progress import track

    from cmmasksd.visualization import can_open_windows, write_picture

    showing = not args.not_show and can_open_windows()
    if not showing and args.output_dir is None:
        raise SystemExit('Nothing to do: no window can be opened here; give --output-dir, the folder to write to.')
    visualizer, last = Visualizer(), args.show_number
    for number, item in enumerate(track(items(cfg, args.phase), description=args.phase)):
        if last is not None and number >= last:
            break
        panel, name = draw(item, args.mode), f'{number:06d}_{Path(item["data_samples"].img_path).stem}'
        if args.output_dir is not None:
            write_picture(panel, str(Path(args.output_dir) / f'{name}.png'))
        if showing:
            visualizer.show(panel, win_name=name, wait_time=args.show_interval)


if __name__ == '__main__':
    main()
