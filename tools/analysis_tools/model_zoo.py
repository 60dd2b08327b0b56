"""Writes configs/README.md: which systems are here, what they can do, and what they take.

python tools/analysis_tools/model_zoo.py            # writes it
python tools/analysis_tools/model_zoo.py --check    # says whether it is up to date

Systems and their published scores stand in configs/zoo.yml; parameters and FLOPs are counted, as get_flops.py does.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml

from cmmasksd.shipped import open_config

ROOT = Path(__file__).resolve().parents[2]
PAGE, SYSTEMS = ROOT / 'configs/README.md', ROOT / 'configs/zoo.yml'
HEAD = """# Models

Made by `tools/analysis_tools/model_zoo.py` from [zoo.yml](zoo.yml). Every model here trains, is evaluated, served,
exported and takes either branch of self-distillation (or MaskRIS, AMLRIS, dropout) by a line,
`model = dict(distillation=[dict(type='LMVSD'), dict(type='VMLSD')])`. GFLOP are of an image with one and with eight
expressions, at the config's input, which [benchmarks](../docs/benchmarks.md) explains.

"""
MIDDLE = """
More recipes: [CM-MaskSD](cm_masksd/README.md), with its ablations and other towers of open_clip;
[CRIS](cris/README.md); [LAVT](lavt/README.md). Backbones of OpenMMLab and timm go in by `ImageBackboneAdapter`:
[extending](../docs/extending.md).

## The paper's Table 1

IoU (mIoU over expressions) on RefCOCO as the paper prints it; none has been repeated here yet. A star is DenseCRF after
the model: `--post-process densecrf`. Systems without a mark are not here.

"""


def measure(name: str) -> dict[str, str]:
    """Input, parameters and FLOPs of a shipped config."""
    from benchmarking.inputs import input_size
    from benchmarking.parts import count_parts, total
    from mmengine.registry import init_default_scope

    cfg = open_config(name)
    init_default_scope(cfg.get('default_scope', 'cmmasksd'))
    parts = count_parts(cfg)
    height, width = input_size(cfg)
    return dict(
        size=f'{height}x{width}',
        parameters=f'{sum(part.parameters for part in parts) / 1e6:,.1f}',
        one=f'{total(parts, 1) / 1e9:,.0f}',
        eight=f'{total(parts, 8) / 1e9:,.0f}',
    )


def shipped_row(system: dict[str, Any]) -> list[str]:
    """A system that is here."""
    names = system['configs']
    found = measure(names[0])
    links = ', '.join(f'[{name}]({Path(open_config(name).filename).relative_to(ROOT / "configs")})' for name in names)
    released = f'`{system["released"]}`' if 'released' in system else '-'
    numbers = [found['size'], found['parameters'], found['one'], found['eight']]
    return [system['name'], system['towers'], links, *numbers, released]


def published_row(system: dict[str, Any]) -> list[str]:
    """A system of Table 1."""
    scores = [f'{score:.2f}' for score in system['scores']]
    return [system['name'], system['towers'], *scores, 'here' if 'configs' in system else '']


def table(head: str, aligned: str, rows: list[list[str]]) -> str:
    """In Markdown; ``aligned`` has l or r for each column."""
    rule = ' | '.join('---:' if each == 'r' else '---' for each in aligned)
    return '\n'.join([f'| {head} |', f'| {rule} |', *(f'| {" | ".join(row)} |' for row in rows)]) + '\n'


def page() -> str:
    """The page's text."""
    systems = yaml.safe_load(SYSTEMS.read_text(encoding='utf-8'))['systems']
    here = table(
        'system | towers | config | input | M parameters | GFLOP, 1 | GFLOP, 8 | released weights by',
        'llllrrrl',
        [shipped_row(system) for system in systems if 'configs' in system],
    )
    published = table(
        'system | towers | val | testA | testB | ',
        'llrrrl',
        [published_row(system) for system in systems if 'scores' in system],
    )
    return HEAD + here + MIDDLE + published


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--check', action='store_true', help='write nothing; status 1 if the page is another')
    args = parser.parse_args()
    text = page()
    if not args.check:
        PAGE.write_text(text, encoding='utf-8')
    elif not PAGE.is_file() or PAGE.read_text(encoding='utf-8') != text:
        raise SystemExit(f'{PAGE} is not what zoo.yml and the models say: run this tool without --check.')


if __name__ == '__main__':
    main()
