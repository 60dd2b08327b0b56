"""Counts parameters and FLOPs part by part: python tools/analysis_tools/get_flops.py CONFIG [--expressions 1 8]
[--train]

Nothing is computed, loaded or downloaded: the model is built and run on tensors without contents, which takes seconds
for the largest one. An image is encoded once for all of its expressions, so each part says for what it is done.
"""

from __future__ import annotations

import argparse

from mmengine.config import Config

from cmmasksd.arguments import positive
from cmmasksd.cfg_options import CfgOptions, merge_options
from cmmasksd.shipped import open_config


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file, or the name of a shipped one')
    parser.add_argument(
        '--shape',
        type=positive,
        nargs='+',
        metavar='H W',
        help="the input's size; one number: square (default: the config's)",
    )
    parser.add_argument(
        '--expressions', type=positive, nargs='+', default=[1, 8], help='of an image, for the totals (default: 1 8)'
    )
    parser.add_argument('--train', action='store_true', help='also forward and backward, with each branch')
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptions, help='overrides')
    args = parser.parse_args()
    if args.shape and len(args.shape) > 2:
        parser.error('--shape takes a height and a width, or one number for both')
    return args


def main() -> None:
    args = parse_args()
    cfg = open_config(args.config)
    merge_options(cfg, args.cfg_options)
    from benchmarking.counting import NOT_COUNTED
    from benchmarking.inputs import at_size, input_size
    from mmengine.registry import init_default_scope

    init_default_scope(cfg.get('default_scope', 'cmmasksd'))
    if args.shape:
        cfg = at_size(cfg, (args.shape[0], args.shape[-1]))
    try:
        tables = [inference_table(cfg, args.expressions)] + ([training_table(cfg)] if args.train else [])
    except ValueError as error:  # a size that the model cannot have, or a part that cannot be
        raise SystemExit(f'get_flops.py: {error}') from error
    height, width = input_size(cfg)
    print('\n\n'.join([f'{args.config}, input {height} x {width}', *tables, NOT_COUNTED]))


def inference_table(cfg: Config, expressions: list[int]) -> str:
    """Parts, and one image with so many expressions."""
    from benchmarking.parts import EXPRESSION, branch_parameters, count_parts, total
    from prettytable import PrettyTable

    parts = count_parts(cfg)
    table = PrettyTable(['part', 'parameters, M', 'GFLOP', 'for each'], align='r', title='inference')
    table.align['part'] = table.align['for each'] = 'l'
    for part in parts:
        parameters = f'{part.parameters / 1e6:,.2f}' if part.parameters else ''
        table.add_row([part.name, parameters, f'{part.flops / 1e9:,.2f}', part.unit])
    needed, branches = sum(part.parameters for part in parts), branch_parameters(cfg)
    table.add_divider()
    for count in expressions:
        flops, alone = total(parts, count), total(parts, 1) * count
        unit = f'image with {count} expression{"s" * (count > 1)}'
        shared = f'; {flops / alone:.3f} of one at a time' if count > 1 else ''
        table.add_row(['all', f'{needed / 1e6:,.2f}', f'{flops / 1e9:,.2f}', unit + shared])
    lines = [table.get_string()]
    lines += [f'{name.upper()} has {count:,} parameters more, in training.' for name, count in branches.items()]
    if any(part.name == 'image encoder' and part.unit == EXPRESSION for part in parts):
        lines.append("The image's features depend on the sentence: an image is encoded for each of its expressions.")
    return '\n'.join(lines)


def training_table(cfg: Config) -> str:
    """Forward and backward, branch by branch."""
    from benchmarking.parts import count_training
    from prettytable import PrettyTable

    found = count_training(cfg)
    table = PrettyTable(['branches', 'GFLOP', 'over main'], align='r', title='training, an image with one expression')
    table.align['branches'] = 'l'
    for name, flops in found.items():
        table.add_row([name, f'{flops / 1e9:,.0f}', f'{flops / found["main"]:.3f}'])
    return table.get_string()


if __name__ == '__main__':
    main()
