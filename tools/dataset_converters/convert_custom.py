"""Makes a trainable set from one's own table, and a config that trains on it: cmmasksd convert TABLE --out ROOT
--dataset my_set

TABLE is CSV, tab-separated values or JSON lines with the columns image, mask (a PNG, polygons or COCO's RLE), sentence
and, if wanted, split and object_id; docs/datasets.md tells the details. Names of files are relative to the table. The
config, ROOT/my_set.py, is sized for the set and for the machine at hand.
"""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmengine.config import Config

SMALL = 'vit-tiny_refshapes'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('table', help='.csv, .tsv or .jsonl')
    parser.add_argument(
        '--out',
        required=True,
        metavar='ROOT',
        help='root of the data (data_root in configs); gets <dataset>/ and images/train2014/',
    )
    parser.add_argument('--dataset', required=True, help='name of the set')
    parser.add_argument(
        '--split-by', default='custom', help='the part of refs(<split_by>).p in brackets (default: %(default)s)'
    )
    parser.add_argument(
        '--images', metavar='DIR', help='folder that pictures are relative to, if not that of the table'
    )
    parser.add_argument(
        '--masks', metavar='DIR', help='folder that mask files are relative to, if not that of the table'
    )
    parser.add_argument(
        '--splits',
        nargs='+',
        metavar='NAME',
        help='names the column split may hold (default: train val test testA testB)',
    )
    parser.add_argument(
        '--val-fraction',
        type=float,
        metavar='F',
        help='share of pictures that become val where the table has no splits (default: 0.1)',
    )
    parser.add_argument('--seed', type=int, default=0, help='of that draw (default: %(default)s)')
    parser.add_argument(
        '--mask-threshold',
        type=int,
        metavar='LEVEL',
        help='pixels of mask files above this grey level belong to the object',
    )
    parser.add_argument('--link', action='store_true', help='link to the pictures and do not copy them')
    parser.add_argument(
        '--base',
        metavar='CONFIG',
        help=f'config to begin from, by name or path (default: that of --weights, or {SMALL})',
    )
    parser.add_argument('--weights', metavar='CHECKPOINT', help='trained weights that the training starts from')
    parser.add_argument('--force', action='store_true', help='replace a set that was made so before')
    return parser.parse_args()


def find_base(base: str | None, weights: Path | None) -> Config:
    """The config to begin from: the one that is named, the one that trained the weights, or the small model's."""
    from cmmasksd.shipped import open_config
    from cmmasksd.work_dirs import find_run_config

    if weights is not None and not weights.is_file():
        raise FileNotFoundError(f'{weights}: no such file; give --weights a checkpoint, such as best_mIoU_epoch_2.pth')
    if base is None and weights is not None:
        base = str(find_run_config(weights))
    return open_config(base or SMALL)


def make_config(args: argparse.Namespace, base: Config, weights: Path | None) -> Path:
    """Writes the set's config and tells what it does."""
    from mmengine.device import get_device

    from cmmasksd.datasets.custom.configuring import write_config
    from cmmasksd.datasets.custom.sizing import size_training
    from cmmasksd.datasets.refer import load_refer

    path = Path(args.out, f'{args.dataset}.py')
    data = load_refer(args.out, args.dataset, args.split_by)
    accelerator = get_device() != 'cpu'
    sizes = size_training(base, data, accelerator, os.cpu_count() or 1)
    write_config(path, base, data, sizes, weights)
    validated = f', validated every {sizes.val_interval}' if len(data.split_names) > 1 else ', without a validation'
    side, name = sizes.image_size, Path(base.filename).stem
    print(
        f'\n{path}: {name} at {side}x{side} pixels, {sizes.epochs} epochs of {sizes.steps} steps of '
        f'{sizes.batch_size}{validated}; sized for the set and for this {get_device()}.'
    )
    return path


def tell_start(base: Config, weights: Path | None) -> None:
    """How good a start the training has."""
    if weights is not None:
        print(f'It starts from {weights}.')
    elif base.model.backbone.get('pretrained'):
        print('It starts from CLIP; its neck and decoder from nothing, which takes many more pictures to learn well.')
    else:
        print(
            'It starts from nothing: from few pictures it learns little, so expect poor masks, and take it as a trial. '
            'For good ones start from trained weights (--weights CHECKPOINT, and --base CONFIG if none lies beside it) '
            'or from CLIP (--base vit-b_refcoco); --force makes the set anew.'
        )


def read_options(args: argparse.Namespace) -> dict[str, Any]:
    """What make_custom is told; what is not given has its default there."""
    own = ('table', 'out', 'dataset', 'base', 'weights')
    return {name: value for name, value in vars(args).items() if name not in own and value is not None}


def main() -> None:
    args = parse_args()
    from cmmasksd.datasets.custom import make_custom
    from cmmasksd.datasets.custom.sizing import find_size

    weights = Path(args.weights).expanduser() if args.weights else None
    try:
        base = find_base(args.base, weights)
        find_size(base)
        counts = make_custom(args.table, args.out, args.dataset, **read_options(args), report=print)
        for split, number in counts.items():
            print(f'{split}: {number["images"]} images, {number["refs"]} refs, {number["sentences"]} sentences')
        if 'train' not in counts:
            print('\nThe set has no split train: no config was written.')
            return
        path = make_config(args, base, weights)
    except (ValueError, OSError) as error:
        raise SystemExit(f'Error: {error}') from None
    tell_start(base, weights)
    print(f'\nNext: cmmasksd train {shlex.quote(str(path))}')


if __name__ == '__main__':
    main()
