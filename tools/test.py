"""Evaluates a checkpoint: python tools/test.py configs/cm_masksd/vit-b_refcoco.py CHECKPOINT [--splits val testA
testB]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmengine.config import Config

from cmmasksd.arguments import positive, writable_file, writable_folder
from cmmasksd.cfg_options import CfgOptions, merge_options
from cmmasksd.shipped import open_config
from cmmasksd.work_dirs import find_work_dir


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Evaluate a checkpoint on all splits of its config and print one table.'
    )
    parser.add_argument('config', help='config file, or the name of a shipped one')
    parser.add_argument('checkpoint', help='checkpoint file, or the folder of a published model')
    parser.add_argument('--splits', nargs='+', help="splits to evaluate (default: the config's test_cfg.splits)")
    parser.add_argument('--work-dir', help='where logs go (default: work_dirs/<config name>)')
    parser.add_argument(
        '--out', metavar='FILE', type=writable_file, help='write the metrics to this JSON file (null: not a number)'
    )
    show_help = (
        'write panels (image, expression, prediction, ground truth) to this folder: of 100 images of each split, '
        'spread over it, or as --show-interval says'
    )
    parser.add_argument('--show-dir', metavar='DIR', type=writable_folder, help=show_help)
    parser.add_argument(
        '--show-interval', metavar='N', type=positive, help='with --show-dir: panels of every Nth image; 1: of all'
    )
    parser.add_argument('--amp', action='store_true', help='bfloat16 autocast, on a CPU too')
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptions, help='overrides, such as model.threshold=0.5')
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='how processes are started'
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='passed by some launchers; not read')
    args = parser.parse_args()
    if args.show_interval and not args.show_dir:
        parser.error('--show-interval needs --show-dir, the folder to draw into')
    return args


def load_config(args: argparse.Namespace) -> Config:
    cfg = open_config(args.config)
    cfg.launcher = args.launcher
    cfg.load_from = args.checkpoint
    if Path(args.checkpoint).is_dir():
        from cmmasksd.apis.publishing import use_published

        use_published(cfg, args.checkpoint)
    cfg.work_dir = find_work_dir(cfg.filename, cfg)
    merge_options(cfg, args.cfg_options)
    cfg.work_dir = args.work_dir or cfg.work_dir
    if args.amp:
        cfg.model.precision = 'bfloat16'
    if args.splits:
        cfg.test_cfg.splits = args.splits
    if args.show_dir:
        cfg.default_hooks.visualization.update(draw=True, out_dir=str(Path(args.show_dir).resolve()))
    if args.show_interval:
        cfg.default_hooks.visualization.update(interval=args.show_interval, max_images=None)
    return cfg


def main() -> None:
    args = parse_args()
    cfg = load_config(args)
    from mmengine.dist import is_main_process

    from cmmasksd.apis.running import build_runner
    from cmmasksd.distributed import leave_process_group
    from cmmasksd.strict_json import to_json

    metrics = build_runner(cfg).test()
    if args.out and is_main_process():
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        Path(args.out).write_text(to_json(metrics, indent=2) + '\n')
    leave_process_group()


if __name__ == '__main__':
    main()
