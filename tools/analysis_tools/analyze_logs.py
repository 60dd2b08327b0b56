"""Draws what runs logged, and sums up their time: python tools/analysis_tools/analyze_logs.py plot_curve LOGS... --keys
loss mIoU [--out curves.png]; ... cal_train_time LOGS...

A log is a work dir, of which all runs are joined (a resumed run has one folder for each part; what an interrupted part
logged beyond the place of the resume is left out), the folder of one run, or its scalars.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tasks = parser.add_subparsers(dest='task', required=True)
    plot = tasks.add_parser('plot_curve', help='draw curves of what was logged')
    plot.add_argument('logs', nargs='+', type=Path, help='work dirs, or scalars.json files')
    plot.add_argument('--keys', nargs='+', default=['loss'], help='names in the log, a panel each (default: loss)')
    plot.add_argument('--legend', nargs='+', help='a name for each log (default: the work dirs)')
    plot.add_argument('--title', help='above the panels')
    plot.add_argument(
        '--smooth',
        type=share,
        default=0.0,
        metavar='WEIGHT',
        help='of the curve so far, from 0 to below '
        '1, in a running mean; what was logged stays in pale (default: 0, none)',
    )
    plot.add_argument('--style', default='default', help="matplotlib's style, such as ggplot")
    plot.add_argument('--out', type=Path, help='picture to write (.png, .pdf, .svg); default: a window')
    time = tasks.add_parser('cal_train_time', help='sum up the time of iterations')
    time.add_argument('logs', nargs='+', type=Path, help='work dirs, or scalars.json files')
    args = parser.parse_args()
    if args.task == 'plot_curve':
        args.legend = args.legend or [str(path) for path in args.logs]
        if len(args.legend) != len(args.logs):
            parser.error(
                f'--legend has {len(args.legend)} names, and there are {len(args.logs)} logs: give one for each'
            )
        if len(set(args.legend)) < len(args.legend):
            parser.error('two curves would have one name: give --legend a different one for each log')
    return args


def share(text: str) -> float:
    """An argument from 0 to below 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is no number from 0 to below 1')
    return value


def main() -> None:
    args = parse_args()
    from run_logs.reading import LogError, read_log

    try:
        logs = [read_log(path) for path in args.logs]
        draw(args, logs) if args.task == 'plot_curve' else tell_time(args, logs)
    except (LogError, ModuleNotFoundError, RuntimeError) as error:
        raise SystemExit(f'analyze_logs.py: {error}') from error


def draw(args: argparse.Namespace, logs: list[Any]) -> None:
    from run_logs.curves import plot_curves

    plot_curves(dict(zip(args.legend, logs)), args.keys, args.out, args.title or '', args.smooth, args.style)
    if args.out:
        print(f'wrote {args.out}')


def tell_time(args: argparse.Namespace, logs: list[Any]) -> None:
    from run_logs.times import describe_time

    for path, log in zip(args.logs, logs):
        print(describe_time(str(path), log))


if __name__ == '__main__':
    main()
