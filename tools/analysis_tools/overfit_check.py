"""Can the model learn one batch by heart? What cannot will not learn a data set either.

python tools/analysis_tools/overfit_check.py vit-b_refcoco

A batch of the training set, the same in every step; no augmentation, no dropout, the config's losses and optimiser at a
constant rate. It ends well (exit status 0) when the mean IoU is above 95, measured where the loss is, on the logits'
grid at 0.5, and by the statistics that evaluation uses; else it says what to look at (exit status 1).
"""

from __future__ import annotations

import argparse
import logging

from mmengine.config import Config

from cmmasksd.arguments import positive
from cmmasksd.cfg_options import CfgOptions, merge_options
from cmmasksd.shipped import open_config


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file, or the name of a shipped one')
    parser.add_argument('--batch-size', type=positive, default=4, help='expressions, a picture each (default: 4)')
    parser.add_argument('--steps', type=positive, default=1000, help='at most (default: 1000)')
    parser.add_argument('--interval', type=positive, default=20, help='steps between two looks (default: 20)')
    parser.add_argument('--target', type=float, default=95.0, help='IoU in percent to be above (default: 95)')
    parser.add_argument('--lr', type=float, help="learning rate (default: the config's, but at least 0.0001)")
    parser.add_argument('--amp', action='store_true', help='bfloat16 autocast, on a CPU too')
    parser.add_argument('--seed', type=int, default=0, help='(default: 0)')
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptions, help='overrides, such as data roots')
    args = parser.parse_args()
    if not 0 <= args.target < 100:
        parser.error('--target is a percentage, at least 0 and below 100')
    if args.lr is not None and args.lr <= 0:
        parser.error('--lr must be above 0')
    return args


def check(cfg: Config, args: argparse.Namespace) -> int:
    import torch
    from mmengine.registry import init_default_scope
    from overfitting.learning import Course, Learner, diagnose
    from overfitting.preparing import constant_optimiser, switch_off_dropout, take_batch

    from cmmasksd.registry import MODELS

    init_default_scope(cfg.get('default_scope', 'cmmasksd'))
    logging.disable(logging.INFO)  # mmengine's line for each parameter
    torch.manual_seed(args.seed)
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    batch, left_out = take_batch(cfg, args.batch_size)
    if left_out:
        print(f'Left out of the pipeline: {", ".join(left_out)}')
    model = MODELS.build(cfg.model)
    model.init_weights()
    switch_off_dropout(model.to(device))
    learner, course = Learner(model, batch, constant_optimiser(model, cfg, args.lr, args.amp)), Course()
    if not learner.sized.any():
        raise ValueError("no object of the batch fills a logit's square: set --batch-size higher, or a larger input")
    if not learner.sized.all():
        print(f"Not scored: {int((~learner.sized).sum())} objects that fill no logit's square")
    for line in learner.learn(args.steps, args.interval, args.target, course):
        print(line, flush=True)
    own = f"IoU {learner.iou_at_input():.2f} at the input's size and the threshold {model.threshold}"
    print(f'As evaluated: {own}; mask_ceiling.py tells the most that geometry allows')
    if course.ious[-1] > args.target:
        print(f'Passed: the batch is learnt by heart after {course.steps[-1]} steps.')
        return 0
    print(f'FAILED: IoU {course.ious[-1]:.2f} after {course.steps[-1]} steps, not above {args.target:g}.')
    for advice in diagnose(learner, course):
        print(f'- {advice}')
    return 1


def main() -> None:
    args = parse_args()
    try:
        cfg = open_config(args.config)
        merge_options(cfg, args.cfg_options)
        status = check(cfg, args)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f'Error: {error}') from None
    raise SystemExit(status)


if __name__ == '__main__':
    main()
