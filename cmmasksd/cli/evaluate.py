"""``cmmasksd evaluate``: a checkpoint on the splits of its config, or, with ``--protocol``, anyone's predictions."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmmasksd.arguments import writable_file

if TYPE_CHECKING:
    from cmmasksd.scoring import Prediction, Question

EXAMPLES = """examples:
  cmmasksd evaluate vit-b_refcoco CHECKPOINT               # a model: tools/test.py, whose --help tells the rest
  cmmasksd evaluate ours.jsonl theirs.jsonl --protocol lavt --data-root data/refer --dataset refcoco --split testA
"""


def main() -> None:
    """Scores predictions where a protocol is named, else evaluates a model."""
    if any(argument.partition('=')[0] == '--protocol' for argument in sys.argv[1:]):
        score_files()
        return
    from cmmasksd.cli.doors import TOOLS, run_script

    run_script(TOOLS / 'test.py')


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='cmmasksd evaluate',
        description='Score masks of any model, side by side, as a published evaluation does.',
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    from cmmasksd.scoring.protocols import PROTOCOLS

    parser.add_argument('predictions', nargs='+', metavar='PREDICTIONS', help='JSON lines, see docs/evaluation.md')
    parser.add_argument('--protocol', choices=PROTOCOLS, required=True, help='which evaluation')
    add_questions(parser)
    parser.add_argument(
        '--post-process',
        choices=['densecrf'],
        help='refine masks by the colours of their pictures first, as the rows with a star of Table 1 do (pydensecrf2)',
    )
    parser.add_argument('--out', type=writable_file, metavar='FILE', help='write rule and scores to this JSON file')
    return parser


def add_questions(parser: argparse.ArgumentParser) -> None:
    """Adds what says which expressions are asked."""
    parser.add_argument('--data-root', required=True, metavar='DIR', help='folder that holds the set and its pictures')
    parser.add_argument('--dataset', required=True, help='folder of the annotations, such as refcoco or grefcoco')
    parser.add_argument('--split-by', default='unc', help='(default: %(default)s)')
    parser.add_argument('--split', required=True, help='such as val or testA')
    parser.add_argument(
        '--sentences', choices=['all', 'first'], default='all', help='of each ref (default: all); CRIS trains by first'
    )
    parser.add_argument(
        '--missing',
        choices=['error', 'wrong'],
        default='error',
        help='expressions without a prediction: refuse (default), or count them as empty masks',
    )


def score_files() -> None:
    """Prints the rule and a row of scores for each file; status 2 after what cannot be scored."""
    parser = make_parser()
    args = parser.parse_args()
    try:
        scores = {file: score_file(Path(file), args) for file in args.predictions}
    except (OSError, ValueError, ModuleNotFoundError) as error:
        parser.error(str(error))
    show(scores, args)


def score_file(file: Path, args: argparse.Namespace) -> dict[str, float]:
    """The scores of a file of predictions."""
    from cmmasksd.scoring import PROTOCOLS, answer_questions, refine, score

    answers = answer_questions(*read_answers(file, args), args.missing == 'wrong')
    if args.post_process:
        answers = refine(answers)
    return score(answers, PROTOCOLS[args.protocol])


def read_answers(file: Path, args: argparse.Namespace) -> tuple[list[Question], dict[int, Prediction]]:
    """What :func:`add_questions` asks, and the predictions of a file by ``sent_id``, for
    :func:`~cmmasksd.scoring.answer_questions`; what is left out or missing is said.

    Raises:
        ValueError: predictions or annotations that cannot be read.
        OSError: a file cannot be read.
    """
    from cmmasksd.scoring import read_predictions, read_questions
    from cmmasksd.scoring.predictions import match

    questions = read_questions(args.data_root, args.dataset, args.split_by, args.split)
    asked = [question for question in questions if args.sentences == 'all' or question.is_first]
    found, others = match(read_predictions(file), questions)
    if others:
        print(f'{file}: {others} predictions answer no sentence of {args.split}; they are left out.', file=sys.stderr)
    missing = sum(question.sent_id not in found for question in asked)
    if missing and args.missing == 'wrong':
        print(f'{file}: {missing} sentences without a prediction count as empty masks.', file=sys.stderr)
    return asked, found


def show(scores: dict[str, dict[str, float]], args: argparse.Namespace) -> None:
    from prettytable import PrettyTable

    from cmmasksd.scoring import PROTOCOLS
    from cmmasksd.strict_json import to_json

    rule = PROTOCOLS[args.protocol].rule
    sentences = '' if args.sentences == 'all' else "; of each ref's sentences the first alone"
    refined = '; masks refined by DenseCRF' if args.post_process else ''
    print(f'{args.dataset} ({args.split_by}) {args.split}, {args.protocol}: {rule}{sentences}{refined}.')
    names = list(next(iter(scores.values())))
    table = PrettyTable(['predictions', *names], align='r')
    table.align['predictions'] = 'l'
    for file, own in scores.items():
        table.add_row([file, *(f'{own[name]:.2f}' if isinstance(own[name], float) else own[name] for name in names)])
    print(table)
    if args.out:
        about: dict[str, Any] = dict(protocol=args.protocol, rule=rule, sentences=args.sentences, missing=args.missing)
        about.update(post_process=args.post_process)
        about.update(dataset=args.dataset, split_by=args.split_by, split=args.split, scores=scores)
        Path(args.out).write_text(to_json(about, indent=2) + '\n')
