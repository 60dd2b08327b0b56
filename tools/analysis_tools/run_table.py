"""Trains and evaluates the rows of a table of the paper, and puts ours beside the paper's.

python tools/analysis_tools/run_table.py table2 --data refshapes --seeds 0 1 2 --jobs 2

Run again it goes on: finished runs are left alone, interrupted ones continue from their last checkpoint. Rows that
several tables have in common are trained once.
"""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from typing import Any

from tables.paper import TABLES, read_table

from cmmasksd.arguments import positive, writable_folder
from cmmasksd.cfg_options import CfgOptions, merge_options
from cmmasksd.shipped import open_config


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('table', choices=TABLES)
    data_help = "refshapes: the rows' branches on the quick start's model and data (default: refcoco)"
    parser.add_argument('--data', choices=['refcoco', 'refshapes'], default='refcoco', help=data_help)
    parser.add_argument('--seeds', nargs='+', type=int, default=[0], help='a run of each row for each (default: 0)')
    parser.add_argument('--rows', nargs='+', metavar='CONFIG', help='these rows alone, by their configs')
    parser.add_argument(
        '--jobs', type=positive, help='runs at a time (default: as many as there are GPUs for; without any, one)'
    )
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch'], default='none', help='pytorch: several processes a run, by torchrun'
    )
    parser.add_argument('--processes', type=positive, help='with --launcher pytorch: of one run, a GPU each')
    parser.add_argument(
        '--checkpoint',
        choices=['best', 'last'],
        default='best',
        help="evaluated: best by val's mIoU (default), or last",
    )
    parser.add_argument('--amp', action='store_true', help='bfloat16 autocast, on a CPU too')
    parser.add_argument(
        '--work-dir', default='work_dirs/tables', type=writable_folder, help='of all runs (default: work_dirs/tables)'
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=CfgOptions, help='overrides for every run, such as train_cfg.max_epochs=2'
    )
    args = parser.parse_args()
    args.parts = read_table(args.table)
    complain(parser, args)
    return args


def complain(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuses what cannot be meant."""
    if args.table == 'table1' and args.data == 'refshapes':
        parser.error("table1 compares data sets and CLIP's towers: it has no rows on RefShapes; leave --data out")
    if (args.launcher == 'pytorch') != bool(args.processes):
        parser.error('--launcher pytorch and --processes N go together: N processes for each run')
    if min(args.seeds) < 0 or len(set(args.seeds)) < len(args.seeds):
        parser.error('--seeds are different numbers of at least 0')
    names = list(dict.fromkeys(row.config for part in args.parts for row in part.rows))
    unknown = sorted(set(args.rows or ()) - set(names))
    if unknown:
        parser.error(f'{args.table} has no row {unknown[0]}; its rows: {", ".join(names)}')
    if 'randomness.seed' in (args.cfg_options or {}):
        parser.error('randomness.seed is set for each run: give --seeds')
    args.rows = [name for name in names if not args.rows or name in args.rows]
    chosen = [part._replace(rows=tuple(row for row in part.rows if row.config in args.rows)) for part in args.parts]
    args.parts = [part for part in chosen if part.rows]


def check_data(config: Path, options: dict[str, str] | None) -> None:
    """Says what would stop every run, before the first.

    Raises:
        FileNotFoundError: there are no annotations.
        ValueError: an override that the config cannot hold.
    """
    from cmmasksd.engine.leaves import leaf_configs

    cfg = open_config(config)
    merge_options(cfg, options)
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        for dataset in leaf_configs(cfg[loader].dataset):
            folder = Path(dataset.data_root, dataset.dataset)
            if not folder.is_dir():
                mend = (
                    'make it: python -m cmmasksd.datasets.refshapes data/refshapes'
                    if dataset.dataset == 'refshapes'
                    else 'see docs/datasets.md for where it comes from'
                )
                raise FileNotFoundError(
                    f'there is no {folder}; {mend}, or set --cfg-options {loader}.dataset.data_root=...'
                )


def run(args: argparse.Namespace) -> int:
    from tables.devices import share_out
    from tables.runs import plan
    from tables.working import Way, work_off

    options = args.cfg_options or {}
    settings = dict(options=options, processes=args.processes or 1, amp=args.amp)
    folder = Path(args.work_dir, args.data)
    runs = plan(args.rows, args.seeds, args.data, folder, args.checkpoint, settings)
    for config in dict.fromkeys(each.config for each in runs):
        check_data(config, options)
    for each in runs:
        each.claim()
    way = Way(args.processes or 0, args.amp, options)
    try:
        failures = work_off(runs, way, share_out(args.jobs, args.processes or 1))
    except KeyboardInterrupt:
        failures = ['Interrupted: the same command goes on.']
    report(args, runs, folder)
    for failure in failures:
        print(failure)
    return int(bool(failures))


def report(args: argparse.Namespace, runs: list[Any], folder: Path) -> None:
    """Prints, writes and draws what is finished."""
    from drawing import load_pyplot
    from tables.plots import plot
    from tables.report import format_part, summarise
    from tables.runs import write

    from cmmasksd.strict_json import to_json

    parts = summarise(args.parts, runs)
    for part in parts:
        print(format_part(part, args.data))
    file = folder / f'{args.table}_{args.checkpoint}.json'
    about = dict(table=args.table, data=args.data, seeds=args.seeds, checkpoint=args.checkpoint, amp=args.amp)
    about.update(processes=args.processes or 1, options=args.cfg_options or {}, parts=parts)
    write(file, to_json(about, indent=2) + '\n')
    print(f'Written: {file}')
    try:
        plot(load_pyplot(), parts, 'val/mIoU', file.with_suffix('.png'))
        print(f'Drawn: {file.with_suffix(".png")}')
    except ModuleNotFoundError as error:
        print(f'Not drawn: {error}')


def interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    args = parse_args()
    signal.signal(signal.SIGTERM, interrupt)
    try:
        raise SystemExit(run(args))
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f'Error: {error}') from None


if __name__ == '__main__':
    main()
