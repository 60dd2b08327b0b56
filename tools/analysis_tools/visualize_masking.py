"""Draws what LMVSD and VMLSD mask, and what the main branch and both students answer: the paper's Fig. 3.

python tools/analysis_tools/visualize_masking.py vit-b_refcoco CHECKPOINT --out-dir masking
python tools/analysis_tools/visualize_masking.py vit-b_refcoco CHECKPOINT --out-dir masking \\
    --image zebras.jpg --say 'left zebra' --say 'the tree'

Takes a checkpoint of a training: published weights are of the main branch alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cmmasksd.arguments import positive, writable_folder
from cmmasksd.cfg_options import CfgOptions, merge_options
from cmmasksd.shipped import open_config


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file, or the name of a shipped one')
    parser.add_argument('checkpoint', help='of a training with distillation branches')
    parser.add_argument('--out-dir', required=True, type=writable_folder, help='gets a PNG for each expression')
    parser.add_argument('--split', default='val', help='of the data set (default: val)')
    parser.add_argument('--number', type=positive, default=8, help='pictures, spread over the split (default: 8)')
    parser.add_argument('--image', help='a picture of your own, in place of the data set')
    parser.add_argument('--say', action='append', metavar='SENTENCE', help='what to look for in it; may be repeated')
    parser.add_argument('--seed', type=int, default=0, help='of what is masked (default: 0)')
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptions, help='overrides, such as data roots')
    args = parser.parse_args()
    if bool(args.image) != bool(args.say):
        parser.error('--image and --say go together')
    return args


def asked(args: argparse.Namespace, cfg: Any) -> Iterator[tuple[str, list[str], Any]]:
    """Pictures, sentences, and their masks where they are known."""
    if args.image:
        yield args.image, args.say, None
        return
    from aligning.pointing import pictures_of

    for item in pictures_of(cfg, args.split, args.number):
        sample = item['data_samples']
        yield sample.img_path, sample.expressions.texts, sample.expressions.masks.numpy()


def draw_all(args: argparse.Namespace) -> int:
    """Draws; gives the number of figures.

    Raises:
        ValueError: a model without distillation branches.
    """
    import torch
    from drawing import load_pyplot
    from masking.figures import draw
    from masking.watching import watch, words_of

    from cmmasksd.apis import ReferringInferencer

    cfg = open_config(args.config)
    merge_options(cfg, args.cfg_options)
    inferencer, pyplot, count = ReferringInferencer(cfg, args.checkpoint), load_pyplot(), 0
    if not inferencer.model.distillation:
        raise ValueError(
            'the model has no distillation branch: give the config and a checkpoint of a training with one'
        )
    torch.manual_seed(args.seed)
    for path, texts, masks in asked(args, inferencer.cfg):
        picture = inferencer.prepare(path, list(texts))
        seen, words = watch(inferencer.model, picture), words_of(inferencer, picture)
        for index in range(len(texts)):
            truth = None if masks is None else masks[index]
            figure = draw(pyplot, picture.image, picture.letterbox, seen, index, words[index], truth)
            figure.savefig(Path(args.out_dir, f'{Path(path).stem}_{index}.png'), dpi=110)
            pyplot.close(figure)
            count += 1
    return count


def main() -> None:
    args = parse_args()
    try:
        count = draw_all(args)
    except (OSError, ValueError, ModuleNotFoundError) as error:
        raise SystemExit(f'Error: {error}') from None
    print(f'{count} figures are in {args.out_dir}.')


if __name__ == '__main__':
    main()
