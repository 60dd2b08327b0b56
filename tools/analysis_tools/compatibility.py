"""What mixes with what: python tools/analysis_tools/compatibility.py [--only loss]

Builds a small segmentor with each part, takes a training step with both distillation branches, predicts, saves and
resumes, and prints a table; a cell that is empty says why. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from typing import Any

PARTS = ('image encoder', 'text encoder', 'decode head', 'loss')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', nargs='+', choices=PARTS, default=PARTS, help='kinds of parts (default: all)')
    return parser.parse_args()


def trials() -> dict[str, dict[str, Any]]:
    """The table's groups: each part in place of ours, the others as they are."""
    from mixing.parts import ENCODERS, HEADS, LOSSES, TEXT_ENCODERS
    from mixing.trying import Trial

    return {
        'image encoder': {name: Trial(encoder=part) for name, part in ENCODERS.items()},
        'text encoder': {name: Trial(text=part) for name, part in TEXT_ENCODERS.items()},
        'decode head': {name: Trial(head=part) for name, part in HEADS.items()},
        'loss': {name: Trial(loss=part) for name, part in LOSSES.items()},
    }


def main() -> None:
    args = parse_args()
    warnings.simplefilter('ignore')
    logging.disable(logging.WARNING)
    from mixing.trying import STAGES
    from prettytable import PrettyTable

    table, counts = PrettyTable(['part', 'is', *STAGES], align='l'), [0, 0]
    for part, chosen in trials().items():
        for name, trial in chosen.items() if part in args.only else ():
            cells = trial.try_out()
            table.add_row([part, name, *cells.values()])
            counts[0] += all(cell == 'yes' for cell in cells.values())
            counts[1] += 1
    print(table.get_string())
    print(f'{counts[0]} of {counts[1]} combinations build, train, predict and resume.')


if __name__ == '__main__':
    main()
