"""Writes configs/README.md: which systems are here, what they can do, and what they take.

python tools/analysis_tools/model_zoo.py            # writes it
python tools/analysis_tools/model_zoo.py --check    # says whether it is up to date
python tools/analysis_tools/model_zoo.py --time     # measures configs/zoo_times.json first, side by side: some minutes

Systems and their published scores stand in configs/zoo.yml; parameters and FLOPs are counted, as get_flops.py does.
"""

from __future__ import annotations

import argparse
import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from cmmasksd.arguments import positive
from cmmasksd.shipped import open_config

ROOT = Path(__file__).resolve().parents[2]
PAGE, SYSTEMS, TIMES = (ROOT / 'configs' / name for name in ('README.md', 'zoo.yml', 'zoo_times.json'))
BASE = 'vit-b_refcoco'  # whose time with one expression counts 1
HEAD = """# Models

Made by `tools/analysis_tools/model_zoo.py` from [zoo.yml](zoo.yml). Every model here trains, is evaluated, served and
takes either branch of self-distillation (or MaskRIS, AMLRIS, dropout) by a line,
`model = dict(distillation=[dict(type='LMVSD'), dict(type='VMLSD')])`; all but LAVT, whose pictures are stretched and
whose words are BERT's, are exported too. GFLOP and times are of an image with one and with eight expressions, at the
config's input, which [benchmarks](../docs/benchmarks.md) explains; where the image encoder reads the sentence (LAVT,
ETRIS, DETRIS) what comes before that is counted for each expression and run once. Times are shares of what
{base} takes for one expression, {machine};
ETRIS's were measured beside {base} alone.

"""
MIDDLE = """
More recipes: [CM-MaskSD](cm_masksd/README.md), with its ablations and other towers of open_clip;
[CRIS](cris/README.md); [LAVT](lavt/README.md); [ETRIS](etris/README.md); [DETRIS](detris/README.md). Backbones of
OpenMMLab and timm go in by `ImageBackboneAdapter`:
[extending](../docs/extending.md).

## The paper's Table 1

IoU (mIoU over expressions) on RefCOCO as the paper prints it; none has been repeated here yet. A star is DenseCRF after
the model: `--post-process densecrf`. Systems without a mark are not here.

"""


@cache
def measured() -> dict[str, Any]:
    """What --time found, by the configs' names."""
    return json.loads(TIMES.read_text(encoding='utf-8'))


def time_all(rounds: int) -> None:
    """Writes what :func:`measured` reads."""
    from benchmarking.zoo import time_models

    systems = yaml.safe_load(SYSTEMS.read_text(encoding='utf-8'))['systems']
    cfgs = {system['configs'][0]: open_config(system['configs'][0]) for system in systems if 'configs' in system}
    found = time_models(list(cfgs.values()), cfgs[BASE], rounds)
    found['times'] = {name: found['times'][cfg.filename] for name, cfg in cfgs.items()}
    TIMES.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')


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
    times = [f'{ratio:.2f}' for ratio in measured()['times'][names[0]]]
    numbers = [found['size'], found['parameters'], found['one'], found['eight'], *times]
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
        'system | towers | config | input | M parameters | GFLOP, 1 | GFLOP, 8 | time, 1 | time, 8 | released weights',
        'llllrrrrrl',
        [shipped_row(system) for system in systems if 'configs' in system],
    )
    published = table(
        'system | towers | val | testA | testB | ',
        'llrrrl',
        [published_row(system) for system in systems if 'scores' in system],
    )
    machine = measured()['machine']
    count = machine['threads']
    where = f'side by side on {count} thread{"s" if count > 1 else ""} of one {machine["device"].removeprefix("CPU: ")}'
    head = HEAD.format(base=BASE, machine=f'{where} (`--time`, {measured()["rounds"]} rounds)')
    return head + here + MIDDLE + published


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--check', action='store_true', help='write nothing; status 1 if the page is another')
    parser.add_argument('--time', action='store_true', help='measure the times first')
    parser.add_argument('--rounds', type=positive, default=3, help='of --time (default: 3)')
    args = parser.parse_args()
    if args.time:
        time_all(args.rounds)
    text = page()
    if not args.check:
        PAGE.write_text(text, encoding='utf-8')
    elif not PAGE.is_file() or PAGE.read_text(encoding='utf-8') != text:
        raise SystemExit(f'{PAGE} is not what zoo.yml and the models say: run this tool without --check.')


if __name__ == '__main__':
    main()
