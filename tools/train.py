"""Trains a model: python tools/train.py configs/cm_masksd/vit-b_refcoco.py"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmengine.config import Config

from cmmasksd.cfg_options import CfgOptions, merge_options
from cmmasksd.shipped import open_config
from cmmasksd.work_dirs import LAST, find_work_dir


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train a model.')
    parser.add_argument('config', help='config file, or the name of a shipped one')
    parser.add_argument('--work-dir', help='where logs and checkpoints go (default: work_dirs/<config name>)')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='auto|PATH',
        help="continue from the work dir's last checkpoint, or from PATH",
    )
    parser.add_argument('--amp', action='store_true', help='bfloat16 autocast in training and validation, on a CPU too')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help="scale the learning rate by batch size over the config's base_batch_size",
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=CfgOptions, help='overrides, such as train_cfg.max_epochs=50'
    )
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='how processes are started'
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='passed by some launchers; not read')
    return parser.parse_args()


def load_config(args: argparse.Namespace) -> Config:
    cfg = open_config(args.config)
    cfg.launcher = args.launcher
    cfg.work_dir = find_work_dir(cfg.filename, cfg)
    merge_options(cfg, args.cfg_options)
    cfg.work_dir = args.work_dir or cfg.work_dir
    if args.resume == 'auto':
        # what the run was begun with counts as long as it has written no checkpoint
        cfg.resume = not cfg.get('load_from') or Path(cfg.work_dir, LAST).is_file()
        cfg.load_from = None if cfg.resume else cfg.load_from
    elif args.resume:
        cfg.resume, cfg.load_from = True, args.resume
    if args.amp:
        cfg.optim_wrapper.type, cfg.model.precision = 'AutocastOptimWrapper', 'bfloat16'
    if args.auto_scale_lr:
        cfg.auto_scale_lr = {**(cfg.get('auto_scale_lr') or {}), 'enable': True}
    return cfg


def main() -> None:
    cfg = load_config(parse_args())
    from cmmasksd.apis.running import train

    train(cfg)


if __name__ == '__main__':
    main()
