"""``python -m cmmasksd.datasets.refshapes OUT --num-images N --seed S``: makes the synthetic set RefShapes."""

from __future__ import annotations

import argparse
import functools
import os

from cmmasksd.datasets.refshapes.making import DEFAULT_IMAGE_SIZES, make_refshapes


def _parse_size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition('x')
    if not (height.isdigit() and width.isdigit()):
        raise argparse.ArgumentTypeError(f'{text!r} is not of the form HEIGHTxWIDTH, such as 96x128')
    return int(height), int(width)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='python -m cmmasksd.datasets.refshapes', description='Make the synthetic referring set RefShapes.'
    )
    parser.add_argument('out', help='root of the data: gets refshapes/ and images/train2014/')
    parser.add_argument('--num-images', type=int, default=5600, help='default: %(default)s')
    parser.add_argument('--seed', type=int, default=0, help='default: %(default)s')
    parser.add_argument(
        '--image-size',
        type=_parse_size,
        nargs='+',
        default=DEFAULT_IMAGE_SIZES,
        metavar='HxW',
        help='one or more sizes, of which each picture draws its own (default: seven between 96x128 and 160x120)',
    )
    parser.add_argument(
        '--num-workers', type=int, default=os.cpu_count() or 1, help='processes; default: one per core (%(default)s)'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    try:
        make_refshapes(
            args.out,
            args.num_images,
            args.seed,
            args.image_size,
            args.num_workers,
            functools.partial(print, flush=True),
        )
    except (ValueError, OSError) as error:  # what is there already, and a folder that cannot be made or written
        raise SystemExit(f'Error: {error}') from None


if __name__ == '__main__':
    main()
