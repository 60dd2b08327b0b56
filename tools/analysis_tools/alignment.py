"""How well image and text tower are aligned, with random weights and with the given ones.

python tools/analysis_tools/alignment.py vit-b_refcoco                              # CLIP as the config names it
python tools/analysis_tools/alignment.py vit-tiny_refshapes --cfg-options \\
    model.backbone.pretrained=FILE model.text_encoder.pretrained=FILE               # of tools/pretrain_tiny_clip.py

Retrieval: does a picture find its caption among --pool others, and a caption its picture? Whole pictures go with the
sentences of up to three of their objects, objects with the cut-out around them. Patches: how much of the patches that
correlate most with a sentence, by which LMVSD masks, lies on the object, and how much of the object they cover.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

from mmengine.config import Config

from cmmasksd.arguments import positive, share, writable_file
from cmmasksd.cfg_options import CfgOptions, merge_options
from cmmasksd.shipped import open_config

HIGHEST = 1e-9  # the highest patch alone: TopK is at least one


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file, or the name of a shipped one')
    parser.add_argument('--checkpoint', help="of a training, in place of the towers' own weights")
    parser.add_argument('--splits', nargs='+', help="(default: the config's test_cfg.splits)")
    parser.add_argument('--images', type=positive, default=200, help='of each split, for the patches (default: 200)')
    parser.add_argument('--pool', type=positive, default=100, help='captions to choose among (default: 100)')
    parser.add_argument('--pools', type=positive, default=10, help='at most so many are averaged (default: 10)')
    parser.add_argument('--top-k', nargs='+', type=share, default=[0.5, 0.25, 0.1], help='(default: 0.5 0.25 0.1)')
    parser.add_argument('--seed', type=int, default=0, help='of random weights and of captions (default: 0)')
    parser.add_argument('--out', metavar='FILE', type=writable_file, help='write the numbers to this JSON file')
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptions, help='overrides, such as data roots')
    args = parser.parse_args()
    if args.seed < 0:
        parser.error('--seed must be at least 0')
    return args


def measure_all(cfg: Config, args: argparse.Namespace) -> dict[str, Any]:
    """The numbers by weights and split."""
    import torch
    from mmengine.registry import init_default_scope

    from cmmasksd.registry import MODELS

    init_default_scope(cfg.get('default_scope', 'cmmasksd'))
    logging.disable(logging.INFO)  # mmengine's line for each parameter
    torch.manual_seed(args.seed)
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    model = MODELS.build(cfg.model).to(device).eval()
    if model.image_needs_text:
        raise ValueError('the image tower reads the sentence, so no picture has a feature of its own to compare')
    found = dict(random=measure(model, cfg, args, 'random weights'))
    if args.checkpoint:
        from cmmasksd.checkpoints import load_checkpoint_file
        from cmmasksd.checkpoints.loading import load_weights

        load_weights(model, load_checkpoint_file(args.checkpoint), args.checkpoint)
    elif cfg.model.backbone.get('pretrained') and cfg.model.text_encoder.get('pretrained'):
        model.init_weights()
    else:
        return found
    found['given'] = measure(model, cfg, args, 'given weights')
    return found


def measure(model: Any, cfg: Config, args: argparse.Namespace, title: str) -> dict[str, Any]:
    from aligning import pointing, retrieval

    found = {}
    for split in args.splits or cfg.test_cfg.splits:
        pictures = pointing.pictures_of(cfg, split, args.images)
        found[split] = dict(
            retrieval=retrieval.measure(model, cfg, split, args.pool, args.pools, args.seed),
            patches=pointing.measure(model, pictures, [*args.top_k, HIGHEST], f'{title}, {split}'),
        )
    return found


def show(found: dict[str, Any], pool: int) -> None:
    """Prints both tables."""
    from prettytable import PrettyTable

    recalls = PrettyTable(['weights', 'split', 'among', 'picture to text', 'text to picture', 'chance'], align='l')
    recalls.title = f'Recall@1 in % among {pool}'
    patches = PrettyTable(
        ['weights', 'split', 'TopK', 'on the object', 'chance ', 'object covered', 'chance'], align='l'
    )
    patches.title = 'Patches that correlate most with the sentence, in %'
    for weights, splits in found.items():
        for split, each in splits.items():
            for kind, row in each['retrieval'].items():
                cells = [f'{row[name]:.1f}' for name in ('to_text', 'to_image', 'chance')]
                recalls.add_row([weights, split, kind, *cells])
            for row in each['patches']:
                names = ('on_object', 'on_object_by_chance', 'covered', 'covered_by_chance')
                top_k = 'one patch' if row['top_k'] == HIGHEST else row['top_k']
                patches.add_row([weights, split, top_k, *(f'{row[name]:.1f}' for name in names)])
    print(recalls if recalls.rows else f'No split fills a pool of {pool} different captions: set --pool lower.')
    print(patches)


def main() -> None:
    args = parse_args()
    try:
        cfg = open_config(args.config)
        merge_options(cfg, args.cfg_options)
        found = measure_all(cfg, args)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f'Error: {error}') from None
    show(found, args.pool)
    if 'given' not in found:
        print(
            'No weights were given: set --checkpoint, or model.backbone.pretrained and model.text_encoder.pretrained.'
        )
    if args.out:
        from cmmasksd.strict_json import to_json

        Path(args.out).write_text(to_json(found, indent=2) + '\n')


if __name__ == '__main__':
    main()
