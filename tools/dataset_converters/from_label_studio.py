"""Makes a table, which `cmmasksd convert` takes, of what was labelled in Label Studio: cmmasksd from-label-studio
export.json --images photos --out labelled.jsonl

The export is Label Studio's JSON (not JSON-MIN); docs/annotation.md tells which masks and sentences are taken.
"""

from __future__ import annotations

import argparse
import shlex

from cmmasksd.arguments import writable_file


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('export', help='.json')
    parser.add_argument('--images', required=True, metavar='DIR', help='folder that holds the pictures')
    parser.add_argument('--out', required=True, type=writable_file, metavar='FILE', help='the table, .jsonl')
    args = parser.parse_args()
    if not args.out.endswith(('.jsonl', '.ndjson')):
        parser.error(f'--out {args.out}: the table is JSON lines; name it .jsonl')
    return args


def main() -> None:
    args = parse_args()
    from cmmasksd.annotation.exports import write_table

    try:
        write_table(args.export, args.out, args.images, report=print)
    except (ValueError, OSError) as error:
        raise SystemExit(f'Error: {error}') from None
    table, images = shlex.quote(args.out), shlex.quote(args.images)
    print(f'\nNext: cmmasksd convert {table} --images {images} --out ROOT --dataset NAME')


if __name__ == '__main__':
    main()
