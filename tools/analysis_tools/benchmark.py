"""Measures what a config costs: python tools/analysis_tools/benchmark.py configs/cm_masksd/vit-b_refcoco.py [--only
training evaluation data]

Training steps with and without the branches, evaluation with expressions grouped by image and one at a time, and the
data pipeline alone. Weights are random and nothing is downloaded. Variants of one comparison are timed turn about in
one process, and ratios are taken round by round: they hold on a busy machine, bare times only on the machine they were
taken on.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.config import Config

from cmmasksd.cfg_options import CfgOptions, merge_options
from cmmasksd.shipped import open_config

if TYPE_CHECKING:
    import torch
    from benchmarking.comparing import Comparison
    from benchmarking.report import Report

PARTS = ('training', 'evaluation', 'data')
MORE_PARTS = ('validation', 'settings', 'kernels', 'loading', 'profile')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file, or the name of a shipped one')
    parser.add_argument(
        '--only',
        nargs='+',
        choices=(*PARTS, *MORE_PARTS),
        default=PARTS,
        help='parts (default: training evaluation data); validation: as many images and expressions as RefCOCO val '
        "has, scored; settings: a step by precision, cuDNN's search, orders of enlarging and convolving; kernels: "
        "the projector's parts alone, each in its ways; loading: steps fed by a loader; profile: the longest kernels",
    )
    add_sizes(parser)
    parser.add_argument('--device', default='auto', help='auto (default), cpu, cuda, cuda:1 ...')
    parser.add_argument('--amp', action='store_true', help='bfloat16 autocast')
    parser.add_argument(
        '--baseline',
        action='store_true',
        help='also do the same work plainly: a pass of its own for each branch, unfused attention, float32, '
        'one expression at a time',
    )
    parser.add_argument(
        '--compile',
        action='store_true',
        help='also training steps with encoder, neck and head compiled (needs a C++ compiler)',
    )
    parser.add_argument(
        '--plot',
        action='store_true',
        help='draw cost against expressions and against visual tokens into --out (needs matplotlib)',
    )
    parser.add_argument(
        '--out',
        type=Path,
        help='folder for benchmark.json (every sample) and benchmark.txt, written after each part, and plots',
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=CfgOptions, help='overrides, such as model.expressions_per_chunk=8'
    )
    args = parser.parse_args()
    if args.plot and not args.out:
        parser.error('--plot needs --out, the folder to draw into')
    if min(args.batch_size, args.repeats, args.val_images, args.workers, *args.expressions) < 1:
        parser.error('--batch-size, --repeats, --val-images, --workers and --expressions must be at least 1')
    return args


def add_sizes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--batch-size', type=int, default=4, help='images of a training step (default: 4)')
    parser.add_argument(
        '--expressions',
        type=int,
        nargs='+',
        default=[1, 2, 4, 8, 16],
        help='per image, in evaluation (default: 1 2 4 8 16)',
    )
    parser.add_argument(
        '--image-sizes',
        type=int,
        nargs='+',
        help='also time training steps at these square sizes (multiples of the patch)',
    )
    parser.add_argument('--val-images', type=int, default=1500, help='images of validation (default: 1500)')
    parser.add_argument('--workers', type=int, default=4, help='processes of the loader in loading (default: 4)')
    parser.add_argument('--repeats', type=int, default=5, help='rounds that count (default: 5)')
    parser.add_argument('--threads', type=int, help="threads of a CPU (default: torch's)")


def main() -> None:
    args = parse_args()
    cfg = open_config(args.config)
    merge_options(cfg, args.cfg_options)
    import torch
    from benchmarking import plots, report
    from mmengine.device import get_device
    from mmengine.registry import init_default_scope

    from cmmasksd.memory import keep_freed_memory

    if args.plot:
        plots.load_pyplot()
    keep_freed_memory()
    init_default_scope(cfg.get('default_scope', 'cmmasksd'))
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    device = torch.device(get_device() if args.device == 'auto' else args.device)
    written = report.Report(device, args.out)
    placed: dict[str, list[tuple[int, Comparison]]] = {}
    for part, place, comparison in compare_parts(cfg, args, device):
        written.add_comparison(comparison)
        placed.setdefault(part, []).append((place, comparison))
    measure_rest(cfg, args, device, written)
    if args.plot:
        labels = {'evaluation': 'expressions per image', 'tokens': 'visual tokens'}
        for part in sorted(labels.keys() & placed.keys()):
            plots.plot_costs(args.out / f'{part}.png', labels[part], placed[part], paired=part == 'evaluation')


def compare_parts(cfg: Config, args: argparse.Namespace, device: torch.device) -> Iterator[tuple[str, int, Comparison]]:
    """The comparisons that were asked for, one after the other: their part, and place on a plot's horizontal axis."""
    from benchmarking.evaluation import compare_evaluation, compare_validation
    from benchmarking.inputs import at_size
    from benchmarking.kernels import compare_kernels
    from benchmarking.settings import compare_settings
    from benchmarking.training import compare_training

    ways = dict(amp=args.amp, baseline=args.baseline)
    if 'training' in args.only:
        compiled = args.compile
        yield 'training', 0, compare_training(cfg, args.batch_size, device, args.repeats, compiled=compiled, **ways)
    for count in args.expressions if 'evaluation' in args.only else ():
        yield 'evaluation', count, compare_evaluation(cfg, count, device, args.repeats, **ways)
    for size in args.image_sizes or ():
        sized = at_size(cfg, size)
        step = compare_training(sized, args.batch_size, device, args.repeats, main_only=True, **ways)
        yield 'tokens', step.facts['visual_tokens'], step
    if 'validation' in args.only:
        yield 'validation', 0, compare_validation(cfg, args.val_images, args.batch_size, device, 1, args.amp)
    if 'settings' in args.only:
        yield 'settings', 0, compare_settings(cfg, args.batch_size, device, args.repeats)
    if 'kernels' in args.only:
        for comparison in compare_kernels(cfg, args.expressions, device, args.repeats):
            yield 'kernels', 0, comparison


def measure_rest(cfg: Config, args: argparse.Namespace, device: torch.device, written: Report) -> None:
    """What is no comparison: the data pipeline, a loader that feeds a step, a profile."""
    from benchmarking.data import measure_data
    from benchmarking.loading import measure_loading
    from benchmarking.profiling import profile_config

    if 'data' in args.only:
        written.add_data(measure_data(cfg, args.repeats))
    if 'loading' in args.only:
        steps = 2 * args.repeats
        written.add_loading(measure_loading(cfg, args.batch_size, args.workers, steps, device, args.amp))
    if 'profile' in args.only:
        for table in profile_config(cfg, args.batch_size, max(args.expressions), device, args.amp):
            written.add_table(table)


if __name__ == '__main__':
    main()
