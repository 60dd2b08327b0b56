"""Evaluates a checkpoint: python tools/test.py configs/cm_masksd/vit-b_refcoco.py CHECKPOINT [--splits val testA
testB]
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from mmengine.config import Config, DictAction


def writable_file(path: str) -> str:
    """An argument that names a file to write; its folder is made. Checked now, not after hours of evaluation."""
    if Path(path).is_dir():
        raise argparse.ArgumentTypeError(f'{path} is a folder; name a file in it')
    writable_folder(str(Path(path).parent))
    return path


def writable_folder(path: str) -> str:
    """An argument that names a folder to write to; it is made."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f'{path} cannot be made ({error.strerror}); choose another folder') from error
    if not os.access(path, os.W_OK):
        raise argparse.ArgumentTypeError(f'{path} cannot be written; choose another folder')
    return path


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Evaluate a checkpoint on all splits of its config and print one table.'
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--splits', nargs='+', help="splits to evaluate (default: the config's test_cfg.splits)")
    parser.add_argument('--work-dir', help='where logs go (default: work_dirs/<config name>)')
    parser.add_argument('--out', metavar='FILE', type=writable_file, help='write the metrics to this JSON file')
    show_help = 'write panels (image, expression, prediction, ground truth) to this folder'
    parser.add_argument('--show-dir', metavar='DIR', type=writable_folder, help=show_help)
    parser.add_argument('--amp', action='store_true', help='bfloat16 autocast, on a CPU too')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides, such as model.threshold=0.5')
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='how processes are started'
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='passed by some launchers; not read')
    return parser.parse_args()


def load_config(args: argparse.Namespace) -> Config:
    cfg = Config.fromfile(args.config)
    cfg.launcher = args.launcher
    cfg.load_from = args.checkpoint
    cfg.merge_from_dict(args.cfg_options or {})
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or str(Path('work_dirs', Path(args.config).stem))
    if args.amp:
        cfg.model.precision = 'bfloat16'
    if args.splits:
        cfg.test_cfg.splits = args.splits
    if args.show_dir:
        cfg.default_hooks.visualization.update(draw=True, out_dir=str(Path(args.show_dir).resolve()))
    return cfg


def main() -> None:
    args = parse_args()
    cfg = load_config(args)
    from mmengine.dist import is_main_process
    from mmengine.runner import Runner

    from cmmasksd.checkpoints import register_safe_loader
    from cmmasksd.distributed import leave_process_group, prepare_launcher
    from cmmasksd.engine.checkpoints.disk_space import check_work_dir
    from cmmasksd.memory import keep_freed_memory

    check_work_dir(cfg.work_dir)
    register_safe_loader()
    keep_freed_memory()
    prepare_launcher(cfg, cfg.launcher)
    runner = Runner.from_cfg(cfg)
    metrics = runner.test()
    if args.out and is_main_process():
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        Path(args.out).write_text(json.dumps(metrics, indent=2) + '\n')
    leave_process_group()


if __name__ == '__main__':
    main()
