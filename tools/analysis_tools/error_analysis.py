"""Looks into a run's mistakes: one HTML page that needs no network.

python tools/test.py CONFIG CHECKPOINT --splits testA --predictions testA.jsonl
python tools/analysis_tools/error_analysis.py testA.jsonl --data-root data/refer --dataset refcoco --split testA \\
    --out testA.html

Takes predictions of any model, as cmmasksd evaluate does (docs/evaluation.md). The page has a histogram of IoUs, scores
by length of the sentence, size of the object and kind of words, over- against under-segmentation, and the worst answers
as pictures.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cmmasksd.arguments import writable_file
from cmmasksd.cli.evaluate import add_questions, read_answers


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('predictions', help='JSON lines: tools/test.py --predictions writes them, or another model')
    add_questions(parser)
    parser.add_argument('--out', required=True, type=writable_file, metavar='FILE.html', help='the page')
    parser.add_argument('--title', help='of the page (default: names of the predictions and of the split)')
    parser.add_argument('--number', type=int, default=12, help='pictures of each contact sheet; 0: none (default: 12)')
    args = parser.parse_args()
    if args.number < 0:
        parser.error('--number must be at least 0')
    return args


def analyse(args: argparse.Namespace) -> None:
    """Writes the page, and prints its tables.

    Raises:
        ValueError: predictions or annotations that cannot be read.
        OSError: a file or a picture is missing.
    """
    import numpy as np
    from judging.judgements import judge
    from judging.page import render

    from cmmasksd.scoring import PROTOCOLS, answer_questions

    file, protocol = Path(args.predictions), PROTOCOLS['exact']
    asked, predictions = read_answers(file, args)
    judgements = judge(answer_questions(asked, predictions, args.missing == 'wrong'))
    if not judgements:
        raise ValueError(f'{args.dataset} {args.split} holds no expression')
    scores = protocol.compute(np.array([each.counts for each in judgements], dtype=np.int64))
    name = f'{args.dataset} ({args.split_by}) {args.split}'
    page = render(
        args.title or f'{file.name} on {args.dataset} {args.split}',
        f'{file.name}, {len(judgements)} expressions of {name}.',
        protocol.rule.split('. ')[0],
        scores,
        judgements,
        draw_sheets(judgements, predictions, args.number) if args.number else {},
    )
    Path(args.out).write_text(page, encoding='utf-8')
    show(judgements)


def draw_sheets(judgements: list[Any], predictions: dict[int, Any], number: int) -> dict[str, list[Any]]:
    """The pictures of each contact sheet; the masks of those alone are made once more."""
    from judging.judgements import ELSEWHERE
    from judging.page import SHEETS
    from judging.sheets import draw, worst

    from cmmasksd.scoring import answer_questions

    found = [each for each in judgements if each.iou >= ELSEWHERE]
    badness: list[tuple[list[Any], Callable[[Any], float]]] = [
        (judgements, lambda each: 1 - each.iou),
        (found, lambda each: each.over),
        (found, lambda each: each.under),
    ]
    sheets: dict[str, list[Any]] = {}
    for name, (pool, measure) in zip(SHEETS, badness, strict=True):
        chosen = worst(pool, number, measure)
        answers = answer_questions([each.question for each in chosen], predictions, missing_is_wrong=True)
        sheets[name] = [draw(each, answer) for each, answer in zip(chosen, answers, strict=True)]
    return sheets


def show(judgements: list[Any]) -> None:
    """Prints the tables."""
    from judging.page import balance_of, tables_of, verdicts_of
    from prettytable import PrettyTable

    for name, meaning, count, share in verdicts_of(judgements):
        print(f'{name:10} {count:6} {share:5.1f} %  ({meaning})')
    print(balance_of(judgements))
    for heading, _, groups in tables_of(judgements):
        table = PrettyTable([heading, 'expressions', 'mIoU', 'IoU > 0.5', 'over', 'under'], align='r')
        table.align[heading] = 'l'
        for group in groups:
            shares = (f'{value:.1f}' for value in (group.miou, group.right, group.over, group.under))
            table.add_row([group.name, group.count, *shares])
        print(table)


def main() -> None:
    args = parse_args()
    try:
        analyse(args)
    except (OSError, ValueError) as error:
        raise SystemExit(f'Error: {error}') from None
    print(f'The page is {args.out}.')


if __name__ == '__main__':
    main()
