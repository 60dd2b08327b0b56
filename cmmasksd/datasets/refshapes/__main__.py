"""``python -m cmmasksd.datasets.refshapes OUT --num-images N --seed S``: makes the synthetic set RefShapes;
``--benchmark`` makes its benchmark instead.
"""

from __future__ import annotations

import argparse
import functools
import os

from cmmasksd.datasets.refshapes.benchmark import make_refshapes_benchmark
from cmmasksd.datasets.refshapes.making import make_refshapes


def _parse_size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition('x')
    if not (height.isdigit() and width.isdigit()):
        raise argparse.ArgumentTypeError(f'{text!r} is not of the form HEIGHTxWIDTH, such as 96x128')
    return int(height), int(width)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='python -m cmmasksd.datasets.refshapes', description='Make the synthetic referring set RefShapes.'
    )
    parser.add_argument('out', help='root of the data: gets the folder of the set and images/train2014/')
    parser.add_argument(
        '--benchmark',
        action='store_true',
        help='make refshapes-benchmark, see docs/refshapes.md, and not refshapes; needs scikit-image',
    )
    parser.add_argument('--num-images', type=int, help='default: 5600, of the benchmark 7500')
    parser.add_argument('--seed', type=int, default=0, help='default: %(default)s')
    parser.add_argument(
        '--image-size',
        type=_parse_size,
        nargs='+',
        metavar='HxW',
        help='one or more sizes, of which each picture draws its own (default: seven between 96x128 and 160x120, of '
        'the benchmark seven between 120x160 and 160x160)',
    )
    parser.add_argument(
        '--num-workers', type=int, default=os.cpu_count() or 1, help='processes; default: one per core (%(default)s)'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    make = make_refshapes_benchmark if args.benchmark else make_refshapes
    chosen = {'num_images': args.num_images, 'image_sizes': args.image_size}
    sizing = {name: value for name, value in chosen.items() if value is not None}
    report = functools.partial(print, flush=True)
    try:
        make(args.out, seed=args.seed, num_workers=args.num_workers, report=report, **sizing)
    except (ValueError, OSError) as error:  # what is there already, and a folder that cannot be made or written
        raise SystemExit(f'Error: {error}') from None


if __name__ == '__main__':
    main()
