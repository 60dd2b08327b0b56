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

Made by `tools/analysis_tools/model_zoo.py` from [zoo.yml](zoo.yml). The systems of the paper's Table 1, in its order;
those without a config are not here. Scores are the paper's, IoU (mIoU over expressions) on RefCOCO; none has been
repeated here yet. GFLOP are of an image with one and with eight expressions, at the config's input, which
[benchmarks](../docs/benchmarks.md) explains.

Every model here trains, is evaluated, served, exported and takes either branch of self-distillation (or MaskRIS,
AMLRIS, dropout) by a line, `model = dict(distillation=[dict(type='LMVSD'), dict(type='VMLSD')])`. A star is DenseCRF
after the model: `--post-process densecrf`.

"""
COLUMNS = ('system', 'towers', 'val / testA / testB', 'config', 'input', 'parameters, M', 'GFLOP, 1', 'GFLOP, 8')
ENDING = """
More recipes: [CM-MaskSD](cm_masksd/README.md), with its ablations and other towers of open_clip;
[CRIS](cris/README.md). Backbones of OpenMMLab and timm go in by `ImageBackboneAdapter`:
[extending](../docs/extending.md).
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


def row(system: dict[str, Any]) -> str:
    """A line of the table."""
    scores = ' / '.join(f'{score:.2f}' for score in system.get('scores', ())) or '-'
    cells = [system['name'], system['towers'], scores]
    names = system.get('configs', [])
    if not names:
        return f'| {" | ".join([*cells, *["-"] * 5])} |'
    found = measure(names[0])
    links = ', '.join(f'[{name}]({Path(open_config(name).filename).relative_to(ROOT / "configs")})' for name in names)
    if 'released' in system:
        links += f'; released weights: `{system["released"]}`'
    return f'| {" | ".join([*cells, links, found["size"], found["parameters"], found["one"], found["eight"]])} |'


def page() -> str:
    """The page's text."""
    systems = yaml.safe_load(SYSTEMS.read_text(encoding='utf-8'))['systems']
    rule = ['---'] * 5 + ['---:'] * 3
    lines = [f'| {" | ".join(COLUMNS)} |', f'| {" | ".join(rule)} |', *map(row, systems)]
    return HEAD + '\n'.join(lines) + '\n' + ENDING


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
