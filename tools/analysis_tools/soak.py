"""Trains and evaluates for long in one process and tells whether its memory and its open files grow.

python tools/analysis_tools/soak.py configs/cm_masksd/vit-tiny_refshapes.py --cfg-options train_dataloader.batch_size=2
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config, ConfigDict
from mmengine.hooks import Hook

from cmmasksd.cfg_options import CfgOptions, merge_options
from cmmasksd.engine.leaves import leaf_configs
from cmmasksd.shipped import open_config
from cmmasksd.strict_json import to_json

Sample = dict[str, int]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Run many training steps and evaluations; report the growth of memory and open files.'
    )
    parser.add_argument(
        'config', help='config file, or the name of a shipped one; a RefShapes config gets a small set of its own'
    )
    parser.add_argument(
        '--steps', type=int, default=2000, help='training steps, a multiple of the evaluations (default: 2000)'
    )
    parser.add_argument(
        '--evaluations',
        type=int,
        default=2000,
        help='runs of the validation, spread evenly between the steps (default: 2000)',
    )
    parser.add_argument('--images', type=int, default=2, help='images of each evaluation (default: 2)')
    parser.add_argument(
        '--warm-up', type=float, default=0.25, help='share of the run that is left out of the slopes (default: 0.25)'
    )
    parser.add_argument(
        '--work-dir', default='work_dirs/soak', help='where data, logs and checkpoints go (default: work_dirs/soak)'
    )
    parser.add_argument('--out', metavar='FILE', help='write the samples and the slopes to this JSON file')
    parser.add_argument(
        '--cfg-options', nargs='+', action=CfgOptions, help='overrides, such as train_dataloader.batch_size=2'
    )
    args = parser.parse_args()
    if args.evaluations < 10 or args.steps % args.evaluations:
        parser.error('--evaluations must be at least 10, and --steps a multiple of it')
    if not Path('/proc/self/statm').exists():
        parser.error('memory and open files are read from /proc, which only Linux has')
    return args


class Watch(Hook):
    """Notes memory and open files after evaluations, about 200 times in a run."""

    def __init__(self, evaluations: int) -> None:
        self.interval = max(1, evaluations // 200)
        self.samples: list[Sample] = []

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        if runner.epoch % self.interval == 0:
            workers = sum(resident_bytes(worker.pid) for worker in multiprocessing.active_children())
            files = len(os.listdir('/proc/self/fd'))
            self.samples.append(
                dict(step=runner.iter, memory=resident_bytes(os.getpid()), workers=workers, files=files)
            )


def resident_bytes(pid: int) -> int:
    """A process's resident memory."""
    return int(Path(f'/proc/{pid}/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')


def summarise(samples: Sequence[Sample], warm_up: float) -> dict[str, Any]:
    """First, last and highest value after the warm-up, and the slope per step by least squares."""
    kept = samples[round(warm_up * len(samples)) :]
    steps = [sample['step'] for sample in kept]
    summary: dict[str, Any] = dict(samples=len(kept), first_step=steps[0], last_step=steps[-1])
    for name in ('memory', 'workers', 'files'):
        values = [sample[name] for sample in kept]
        slope = float(np.polyfit(steps, values, 1)[0])
        summary[name] = dict(first=values[0], last=values[-1], highest=max(values), slope=slope)
    return summary


def report(summary: dict[str, Any]) -> str:
    """The summary in lines."""
    lines = [f'{summary["samples"]} samples from step {summary["first_step"]} to {summary["last_step"]}']
    for name, title in (('memory', 'memory of the process'), ('workers', 'memory of its data loaders')):
        values = summary[name]
        first, last, highest = (values[key] / 2**20 for key in ('first', 'last', 'highest'))
        lines.append(
            f'{title}: {first:.1f} MiB at first, {last:.1f} at last, {highest:.1f} at most; slope '
            f'{values["slope"]:+.0f} bytes a step'
        )
    files = summary['files']
    lines.append(f'open files: {files["first"]} at first, {files["last"]} at last, {files["highest"]} at most')
    return '\n'.join(lines)


def load_config(args: argparse.Namespace) -> Config:
    cfg = open_config(args.config)
    cfg.work_dir = args.work_dir
    cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=args.evaluations, val_interval=1)
    cfg.default_hooks.checkpoint.interval = cfg.default_hooks.logger.interval = max(1, args.evaluations // 20)
    merge_options(cfg, args.cfg_options)
    take(cfg.train_dataloader.dataset, cfg.train_dataloader.batch_size * (args.steps // args.evaluations))
    take(cfg.val_dataloader.dataset, args.images)
    return cfg


def take(dataset: ConfigDict, count: int) -> None:
    """Makes a data set give so many items; of several joined ones, each gives its share."""
    leaves = list(leaf_configs(dataset))
    for place, leaf in enumerate(leaves):
        leaf.indices = count // len(leaves) + (place < count % len(leaves))


def make_data(cfg: Config) -> None:
    """A RefShapes set just large enough, for the loaders of a RefShapes config."""
    from cmmasksd.datasets.refshapes import make_refshapes

    datasets = [*leaf_configs(cfg.train_dataloader.dataset), *leaf_configs(cfg.val_dataloader.dataset)]
    if all(dataset.dataset == 'refshapes' for dataset in datasets):
        root = Path(cfg.work_dir, 'refshapes')
        make_refshapes(root, num_images=10 * max(dataset.indices for dataset in datasets), seed=0)
        for dataset in datasets:
            dataset.data_root = str(root)


def main() -> None:
    args = parse_args()
    cfg = load_config(args)
    from mmengine.runner import Runner

    from cmmasksd.checkpoints import register_safe_loader
    from cmmasksd.engine.checkpoints.disk_space import check_work_dir

    check_work_dir(cfg.work_dir)
    make_data(cfg)
    register_safe_loader()
    runner, watch = Runner.from_cfg(cfg), Watch(args.evaluations)
    runner.register_hook(watch)
    runner.train()
    summary = summarise(watch.samples, args.warm_up)
    print(report(summary))
    if args.out:
        Path(args.out).write_text(to_json(dict(summary, each=watch.samples), indent=2) + '\n')


if __name__ == '__main__':
    main()
