"""Checks a data folder in REFER's format before training: python tools/dataset_converters/check_refer.py ROOT
--dataset refcoco --split-by unc
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Check a data folder in REFER's format and report all problems.",
        epilog='Exit code: 0 without errors (there may be warnings), 1 with errors, 2 after a wrong call, '
        '130 after Ctrl-C.',
    )
    parser.add_argument('root', help='folder that holds DATASET/ and the pictures')
    parser.add_argument(
        '--dataset', required=True, help='folder of the annotations: refcoco, refcoco+, refcocog, refclef or your own'
    )
    parser.add_argument('--split-by', required=True, help='unc, umd, google ...: the part of refs(...).p in brackets')
    parser.add_argument('--no-images', action='store_true', help='check the annotations only')
    parser.add_argument(
        '--no-across', action='store_true', help='do not compare with RefCOCO, RefCOCO+ and RefCOCOg in the same root'
    )
    parser.add_argument(
        '--sentence-field',
        choices=['sent', 'raw'],
        default='sent',
        help='which form of the sentences is trained on (default: sent)',
    )
    parser.add_argument(
        '--token-length',
        type=int,
        nargs='+',
        default=[17, 22],
        metavar='L',
        help='report sentences cut at these (default: 17 22)',
    )
    parser.add_argument('--tokenizer', help="the models', as TokenizeExpressions takes it (default: CLIP's)")
    parser.add_argument(
        '--jobs',
        type=int,
        metavar='N',
        help='processes that decode pictures (default: one per core; 0: none but this one)',
    )
    parser.add_argument(
        '--max-examples', type=int, default=5, metavar='N', help='examples printed of each kind of problem (default: 5)'
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the whole report to this file')
    args = parser.parse_args()
    check_args(parser, args)
    return args


def check_args(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuses a wrong call before any work is done."""
    if not Path(args.root).expanduser().is_dir():
        parser.error(f'ROOT: {args.root} is no folder')
    if args.tokenizer is None and any(not 3 <= length <= 77 for length in args.token_length):
        parser.error('--token-length: CLIP takes 3 to 77 tokens')
    if args.max_examples < 0 or (args.jobs or 0) < 0:
        parser.error('--max-examples and --jobs must be at least 0')
    if args.json and (
        args.json.is_dir() or not os.access(args.json if args.json.exists() else args.json.parent, os.W_OK)
    ):
        parser.error(f'--json: {args.json} cannot be written; name a file in a folder that is there')


def main() -> int:
    args = parse_args()
    from cmmasksd.datasets.checking import check_refer, describe
    from cmmasksd.datasets.transforms.tokenizers import get_tokenizer
    from cmmasksd.strict_json import to_json

    try:
        get_tokenizer(args.tokenizer)
    except (ImportError, ValueError) as error:
        sys.exit(f'--tokenizer: {error}')
    report = check_refer(
        args.root,
        args.dataset,
        args.split_by,
        images=not args.no_images,
        across=not args.no_across,
        sentence_field=args.sentence_field,
        token_lengths=args.token_length,
        tokenizer=args.tokenizer,
        jobs=args.jobs,
        show_progress=True,
    )
    if args.json:
        args.json.write_text(to_json(report.to_dict(), indent=2) + '\n')
    print(describe(report, args.max_examples))
    return 1 if report.number('error') else 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print('Stopped before the check was complete.', file=sys.stderr)
        sys.exit(130)
