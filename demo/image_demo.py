"""Finds what sentences refer to in a picture, and draws it: python demo/image_demo.py IMG CONFIG CHECKPOINT --text
'left zebra' --out-file panel.png
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from cmmasksd.arguments import fraction, threshold, writable_file

if TYPE_CHECKING:
    from cmmasksd.apis import ReferringResult


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Draw what sentences refer to in a picture.')
    parser.add_argument('img', help='picture')
    parser.add_argument('config', help='config file, or the name of a shipped one')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--text', nargs='+', required=True, metavar='SENTENCE', help='what is meant; one or several')
    parser.add_argument(
        '--out-file', type=writable_file, metavar='FILE', help='write the panel; its ending says the format'
    )
    parser.add_argument('--device', help='such as cpu or cuda:0 (default: an accelerator if there is one)')
    parser.add_argument('--opacity', type=fraction, default=0.5, help='of the masks, 0 to 1 (default: %(default)s)')
    parser.add_argument('--threshold', type=threshold, help="pixels above it are the object's (default: the model's)")
    parser.add_argument('--title', default='result', help='of the window (default: %(default)s)')
    parser.add_argument('--show', action='store_true', help='open a window')
    args = parser.parse_args()
    if not args.out_file and not args.show:
        parser.error('name an --out-file to write, or ask for a window by --show')
    return args


def draw(args: argparse.Namespace) -> ReferringResult:
    from cmmasksd.apis import inference_model, init_model, show_result_pyplot

    model = init_model(args.config, args.checkpoint, args.device)
    result = inference_model(model, args.img, args.text)
    result = result if args.threshold is None else result.at(args.threshold)
    show_result_pyplot(
        model, args.img, result, opacity=args.opacity, title=args.title, show=args.show, out_file=args.out_file
    )
    return result


def main() -> None:
    args = parse_args()
    try:
        result = draw(args)
    except (OSError, ValueError) as error:
        print(f'image_demo.py: error: {error}', file=sys.stderr)
        raise SystemExit(2) from None
    for sentence, score, mask in zip(result.expressions, result.scores, result.masks):
        found = f'{score:.2f}, {mask.mean():.1%} of the picture' if mask.any() else 'not found'
        print(f'{sentence!r}: {found}')
    if args.out_file:
        print(f'Panel: {args.out_file}')


if __name__ == '__main__':
    main()
