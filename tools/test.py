"""Evaluates a checkpoint: python tools/test.py configs/cm_masksd/vit-b_refcoco.py CHECKPOINT [--splits val testA
testB]
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

from mmengine.config import Config

from cmmasksd.arguments import add_precision, positive, seconds, share, writable_file, writable_folder
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
    parser.add_argument(
        '--predictions',
        metavar='FILE',
        type=writable_file,
        help='write every mask to this file of JSON lines, which cmmasksd evaluate and error_analysis.py read',
    )
    parser.add_argument(
        '--post-process',
        choices=['densecrf'],
        help='refine masks before they are scored, as the rows with a star of Table 1 do (needs pydensecrf2)',
    )
    add_showing(parser)
    tta_help = (
        "average over views of each picture: as the config's tta_pipeline and tta_model say; by default as it is and "
        'mirrored, with left and right swapped in its sentences'
    )
    parser.add_argument('--tta', action='store_true', help=tta_help)
    parser.add_argument(
        '--tta-scales',
        nargs='+',
        metavar='SCALE',
        type=share,
        help='with --tta: at these shares of the input that the picture fills, not as tta_pipeline says: 0.75 1',
    )
    parser.add_argument('--amp', action='store_true', help='bfloat16 autocast, on a CPU too: --precision bfloat16')
    add_precision(parser)
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptions, help='overrides, such as model.threshold=0.5')
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='how processes are started'
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='passed by some launchers; not read')
    args = parser.parse_args()
    if args.show_interval and not (args.show_dir or args.show):
        parser.error('--show-interval needs --show-dir, the folder to draw into, or --show')
    if args.wait_time is not None and not args.show:
        parser.error('--wait-time needs --show')
    if args.tta_scales and not args.tta:
        parser.error('--tta-scales needs --tta')
    return args


def add_showing(parser: argparse.ArgumentParser) -> None:
    """Which panels are drawn, and where they go."""
    show_help = (
        'write panels (image, expression, prediction, ground truth) to this folder: of 100 images of each split, '
        'spread over it, or as --show-interval says'
    )
    parser.add_argument('--show-dir', metavar='DIR', type=writable_folder, help=show_help)
    parser.add_argument(
        '--show-interval',
        metavar='N',
        type=positive,
        help='with --show-dir or --show: panels of every Nth image; 1: of all',
    )
    parser.add_argument('--show', action='store_true', help='show these panels in a window, one after the other')
    parser.add_argument(
        '--wait-time',
        metavar='SECONDS',
        type=seconds,
        help='with --show: how long each stays (default: 2); 0 waits for the space key',
    )


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
    if asked := args.precision or ('bfloat16' if args.amp else None):
        cfg.model.precision = choose(asked)
    if args.splits:
        cfg.test_cfg.splits = args.splits
    if args.show:
        cfg.default_hooks.visualization.update(
            draw=True, show=True, wait_time=2 if args.wait_time is None else args.wait_time
        )
    if args.show_dir:
        cfg.default_hooks.visualization.update(draw=True, out_dir=str(Path(args.show_dir).resolve()))
    if args.show_interval:
        cfg.default_hooks.visualization.update(interval=args.show_interval, max_images=None)
    if args.tta:
        augment(cfg, args.tta_scales)
    if args.predictions:
        dump_predictions(cfg, args.predictions)
    if args.post_process:
        cfg.test_evaluator = dict(type='cmmasksd.DenseCRFEvaluator', metrics=cfg.test_evaluator)
    return cfg


def choose(precision: str) -> str:
    """What to compute in on the device that evaluation takes."""
    from mmengine.device import get_device

    from cmmasksd.precision import choose_precision

    return choose_precision(precision, get_device())


def dump_predictions(cfg: Config, file: str) -> None:
    """Adds what writes the masks of all splits to one file, begun anew."""
    Path(file).unlink(missing_ok=True)
    own = cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
    cfg.test_evaluator = [*own, dict(type='cmmasksd.DumpPredictions', out_file_path=file, append=True)]


def augment(cfg: Config, scales: list[float] | None) -> None:
    """Puts the model into the one that averages, and the pipelines of the test data sets into those that give views."""
    from cmmasksd.datasets.transforms import with_test_time_augmentation
    from cmmasksd.engine.leaves import leaf_configs

    for dataset in leaf_configs(cfg.test_dataloader.dataset):
        own = None if scales else cfg.get('tta_pipeline')
        dataset.pipeline = copy.deepcopy(own) or with_test_time_augmentation(dataset.pipeline, scales=scales or (1,))
    cfg.model = dict(cfg.get('tta_model') or dict(type='cmmasksd.ReferringTTAModel'), module=cfg.model)


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
