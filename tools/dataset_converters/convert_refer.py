"""Writes a set's annotations in a form that loads several times faster: python
tools/dataset_converters/convert_refer.py ROOT --dataset refcoco

The result, refs(<split_by>).safetensors, lies beside REFER's own files and is used from then on, as long as these stay
the same.
"""

from __future__ import annotations

import argparse

from cmmasksd.datasets.refer.converted.converting import convert_refer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('root', help='folder that holds <dataset>/instances.json and <dataset>/refs(<split_by>).p')
    parser.add_argument('--dataset', default='refcoco', help='folder name of the annotations (default: %(default)s)')
    parser.add_argument(
        '--split-by',
        default='unc',
        help='unc, umd, google ...: the part of refs(<split_by>).p in brackets (default: %(default)s)',
    )
    args = parser.parse_args()
    try:
        path = convert_refer(args.root, args.dataset, args.split_by)
    except (ValueError, OSError) as error:
        raise SystemExit(f'Error: {error}') from None
    print(f'{path}: {path.stat().st_size / 2**20:.1f} MiB')


if __name__ == '__main__':
    main()
