"""Computes memory and FLOPs of a training step without running it: python tools/analysis_tools/trace_training.py CONFIG
--batch-sizes 4 32 [--amp]

The step is traced on tensors without contents (torch's FakeTensorMode), and every tensor that would be alive is added
up. Not counted: the allocator's rounding and fragments, workspaces of libraries, the context of a GPU, and dropout,
which is off. For the main branch alone add --cfg-options model.distillation=[].
"""

from __future__ import annotations

import argparse

from cmmasksd.cfg_options import CfgOptions, merge_options
from cmmasksd.shipped import open_config


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file, or the name of a shipped one')
    parser.add_argument('--batch-sizes', type=int, nargs='+', default=[4, 32], help='images of a step (default: 4 32)')
    parser.add_argument('--amp', action='store_true', help='bfloat16 autocast')
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptions, help='overrides')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = open_config(args.config)
    merge_options(cfg, args.cfg_options)
    from benchmarking.tracing import trace_step
    from mmengine.registry import init_default_scope
    from prettytable import PrettyTable

    init_default_scope(cfg.get('default_scope', 'cmmasksd'))
    columns = ['batch', 'checkpointing', 'state GB', 'peak GB', 'GFLOP/image']
    table = PrettyTable(columns, align='r', title=f'computed, {"bfloat16" if args.amp else "float32"}')
    for batch_size in args.batch_sizes:
        for checkpointing in (False, True):
            step = trace_step(cfg, batch_size, args.amp, checkpointing)
            sizes = [f'{size / 1e9:.2f}' for size in (step.state, step.peak, step.flops / batch_size)]
            table.add_row([batch_size, 'on' if checkpointing else 'off', *sizes])
    print(
        f'{table}\nstate: weights, gradients and moments of Adam; peak: all that is alive at the worst moment of '
        'forward and backward'
    )


if __name__ == '__main__':
    main()
