"""Trains and evaluates the arms of an experiment, several at a time, and compares them seed by seed.

python tools/analysis_tools/run_experiment.py docs/evidence/design --seeds 0 1 2 3 4 --jobs 2
python tools/analysis_tools/run_experiment.py docs/evidence/design --report

The folder holds experiment.yml, what differs; gets a JSON file of each finished run under runs/, and, with --report,
tables.md and a figure of each metric drawn from them. Run again it goes on: finished runs are left alone, interrupted
ones continue from their last checkpoint.
"""

from __future__ import annotations

import argparse
import signal
from pathlib import Path

from experiments.reading import Experiment, read_experiment

from cmmasksd.arguments import positive, writable_folder


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('experiment', type=Path, help='folder that holds experiment.yml')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0], help='a run of each arm for each (default: 0)')
    parser.add_argument('--arms', nargs='+', help='these alone')
    parser.add_argument('--conditions', nargs='+', help='these alone')
    parser.add_argument('--jobs', type=positive, help='runs at a time (default: as many as there are GPUs; else one)')
    parser.add_argument(
        '--work-dir',
        default='work_dirs/experiments',
        type=writable_folder,
        help='of all runs (default: work_dirs/experiments)',
    )
    parser.add_argument('--report', action='store_true', help='train nothing: tables and figures of what is there')
    args = parser.parse_args()
    if min(args.seeds) < 0 or len(set(args.seeds)) < len(args.seeds):
        parser.error('--seeds are different numbers of at least 0')
    return args


def chosen(asked: list[str] | None, known: list[str], what: str) -> list[str]:
    """Those asked for, or all.

    Raises:
        ValueError: an unknown name.
    """
    if unknown := sorted(set(asked or ()) - set(known)):
        raise ValueError(f'the experiment has no {what} {unknown[0]!r}; it has {", ".join(known)}')
    return asked or known


def run(args: argparse.Namespace) -> int:
    from experiments.evidence import collect
    from experiments.planning import plan, slug
    from tables.devices import share_out
    from tables.working import Way, work_off

    experiment = read_experiment(args.experiment)
    arms = chosen(args.arms, list(experiment.arms), 'arm')
    conditions = chosen(args.conditions, list(experiment.conditions), 'condition')
    if args.report:
        report(experiment, args.experiment)
        return 0
    runs = plan(experiment, arms, conditions, args.seeds, Path(args.work_dir, slug(args.experiment.name)))
    for each in runs:
        each.claim()
    try:
        failures = work_off(runs, Way(0, False, {}), share_out(args.jobs, 1))
    except KeyboardInterrupt:
        failures = ['Interrupted: the same command goes on.']
    collect(runs, args.experiment)
    for failure in failures:
        print(failure)
    print(f'Next: python tools/analysis_tools/run_experiment.py {args.experiment} --report')
    return int(bool(failures))


def report(experiment: Experiment, folder: Path) -> None:
    """Prints, writes and draws what is finished."""
    from drawing import load_pyplot
    from experiments.comparing import compare
    from experiments.evidence import load
    from experiments.planning import slug
    from experiments.printing import format_tables, plot

    runs = load(folder)
    by_metric = {metric: compare(experiment, runs, metric) for metric in experiment.metrics}
    tables = format_tables(experiment, by_metric)
    print(tables)
    (folder / 'tables.md').write_text(f'# {experiment.title}\n\n{tables}\n')
    for metric, comparisons in by_metric.items():
        if any(each.effect is not None for each in comparisons):
            file = folder / f'{slug(metric)}.png'
            plot(load_pyplot(), experiment, comparisons, file)
            print(f'Drawn: {file}')


def interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    args = parse_args()
    signal.signal(signal.SIGTERM, interrupt)
    try:
        raise SystemExit(run(args))
    except (FileNotFoundError, ModuleNotFoundError, ValueError) as error:
        raise SystemExit(f'Error: {error}') from None


if __name__ == '__main__':
    main()
