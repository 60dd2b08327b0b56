"""Makes labelled tasks for Label Studio of what `cmmasksd segment --table` wrote: cmmasksd to-label-studio
answers/table.jsonl --out-dir tasks

Writes tasks.json, to import, and labelling.xml, the project's labelling interface; docs/annotation.md tells each step.
"""

from __future__ import annotations

import argparse

from cmmasksd.annotation.folders import LOCAL_FILES
from cmmasksd.annotation.labelling import SHIPPED
from cmmasksd.arguments import writable_folder


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('predictions', help='JSON lines')
    parser.add_argument('--out-dir', required=True, type=writable_folder, metavar='D', help='where to')
    parser.add_argument(
        '--prefix',
        default=f'{LOCAL_FILES}/?d=',
        help="what stands before a picture's name in its address (default: %(default)s, Label Studio's local storage)",
    )
    parser.add_argument('--version', help="the model's, shown in Label Studio (default: the file's name)")
    parser.add_argument(
        '--labelling',
        choices=SHIPPED,
        default='labels',
        help='sentences as labels to paint with (default), or as text beside each mask, where more can be typed',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from cmmasksd.annotation.tasks import write_tasks

    try:
        written = write_tasks(args.predictions, args.out_dir, args.prefix, args.version, args.labelling)
    except (ValueError, OSError) as error:
        raise SystemExit(f'Error: {error}') from None
    print(
        f'{args.out_dir}: tasks.json and labelling.xml; {written.tasks} tasks with {written.sentences} sentences, '
        f'{written.masks} of which have a mask.'
    )


if __name__ == '__main__':
    main()
