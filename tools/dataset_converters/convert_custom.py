"""Makes a trainable set from one's own table: python tools/dataset_converters/convert_custom.py TABLE --out ROOT
--dataset my_set

TABLE is CSV, tab-separated values or JSON lines with the columns image, mask (a PNG, polygons or COCO's RLE), sentence
and, if wanted, split and object_id; docs/datasets.md tells the details. Names of files are relative to the table.
"""

from __future__ import annotations

import argparse

from cmmasksd.datasets.custom import make_custom
from cmmasksd.datasets.custom.making import DEFAULT_VAL_FRACTION, SPLITS


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
        default=SPLITS,
        metavar='NAME',
        help=f'names the column split may hold (default: {" ".join(SPLITS)})',
    )
    parser.add_argument(
        '--val-fraction',
        type=float,
        metavar='F',
        help=f'share of pictures that become val where the table has no splits (default: {DEFAULT_VAL_FRACTION})',
    )
    parser.add_argument('--seed', type=int, default=0, help='of that draw (default: %(default)s)')
    parser.add_argument(
        '--mask-threshold',
        type=int,
        metavar='LEVEL',
        help='pixels of mask files above this grey level belong to the object',
    )
    parser.add_argument('--link', action='store_true', help='link to the pictures and do not copy them')
    parser.add_argument('--force', action='store_true', help='replace a set that was made so before')
    return parser.parse_args()


def example_config(root: str, dataset: str, split_by: str, counts: dict[str, dict[str, int]]) -> str:
    """A config that trains on the set and evaluates on its first split but ``train``; it is to lie beside the one that
    it names.
    """
    lines = [
        "_base_ = './vit-b_refcoco.py'",
        'for loader in (_base_.train_dataloader, _base_.val_dataloader, _base_.test_dataloader):',
        f'    loader.dataset.update(data_root={root!r}, dataset={dataset!r}, split_by={split_by!r})',
        'del loader',
    ]
    evaluated = [split for split in counts if split != 'train']
    if evaluated:
        validated = 'val' if 'val' in evaluated else evaluated[0]
        lines += [
            f'_base_.val_dataloader.dataset.split = _base_.test_dataloader.dataset.split = {validated!r}',
            f'test_cfg = dict(splits={evaluated}, paper=None)',  # the paper's are RefCOCO's numbers
        ]
    else:
        lines += [f'{loader}_dataloader = {loader}_evaluator = {loader}_cfg = None' for loader in ('val', 'test')]
    return '\n'.join(lines)


def main() -> None:
    args = parse_args()
    options = {name: value for name, value in vars(args).items() if name not in ('table', 'out', 'dataset')}
    try:
        counts = make_custom(args.table, args.out, args.dataset, **options, report=print)
    except (ValueError, OSError) as error:
        raise SystemExit(f'Error: {error}') from None
    for split, number in counts.items():
        print(f'{split}: {number["images"]} images, {number["refs"]} refs, {number["sentences"]} sentences')
    print(
        '\nA config that trains on it, to be saved in '
        f'configs/cm_masksd/:\n\n{example_config(args.out, args.dataset, args.split_by, counts)}'
    )


if __name__ == '__main__':
    main()
