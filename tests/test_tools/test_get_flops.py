"""FLOPs and parameters, part by part, are those that the whole model has."""

from __future__ import annotations

import copy
import re
import runpy
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from cmmasksd.registry import MODELS
from tests.shipped_configs import load
from tests.test_tools.running import CONFIG, ROOT

sys.path.append(str(ROOT / 'tools/analysis_tools'))  # where the script finds its helpers
from benchmarking.counting import count_flops
from benchmarking.inputs import at_size
from benchmarking.parts import EXPRESSION, IMAGE, Part, count_parts, count_training, total

DOCS = ROOT / 'docs/benchmarks.md'


@pytest.fixture(scope='module')
def tiny() -> Config:
    cfg = copy.deepcopy(load('cm_masksd/vit-tiny_refshapes.py'))
    for tower in (cfg.model.backbone, cfg.model.text_encoder):
        tower.architecture.vision_cfg.layers, tower.architecture.text_cfg.layers = 3, 1
    cfg.model.decode_head.num_layers = 1
    return cfg


@pytest.fixture(autouse=True)
def scope(no_default_scope: None) -> None:
    DefaultScope.get_instance('cmmasksd', scope_name='cmmasksd')


def by_name(parts: list[Part]) -> dict[str, Part]:
    return {part.name.strip(): part for part in parts}


@pytest.mark.parametrize('count', [1, 3])
def test_parts_add_up_to_the_whole(tiny: Config, count: int) -> None:
    model = MODELS.build(tiny.model).eval()
    parts = count_parts(tiny)
    ids = torch.tensor([[49406, 5, 49407, *[0] * 14]] * count)
    with torch.no_grad():
        whole = count_flops(lambda: model(torch.rand(1, 3, 128, 128), ids, torch.zeros(count, dtype=torch.long)))
    # the head folds its kernel once a call, which the parts count once an expression
    assert whole == total(parts, 1) if count == 1 else whole < total(parts, count) < 1.002 * whole
    named = by_name(parts)
    assert {named[name].unit for name in ('image embeddings', 'image encoder', 'neck, projections')} == {IMAGE}
    assert {named[name].unit for name in ('text encoder', 'neck, fusion', 'decode head')} == {EXPRESSION}
    assert named['layers'].flops + named['projector'].flops == named['decode head'].flops
    inference = sum(p.numel() for name, p in model.named_parameters() if not name.startswith('distillation'))
    assert sum(part.parameters for part in parts) == inference


def test_a_patch_embedding_and_another_size(tiny: Config) -> None:
    """3 x 16 x 16 values to 96 channels, in 8 x 8 and in 6 x 10 patches."""
    for size, patches in (((128, 128), 64), ((96, 160), 60)):
        part = by_name(count_parts(at_size(tiny, size)))['image embeddings']
        assert part.flops == 2 * patches * 3 * 16 * 16 * 96


def test_what_depends_on_the_sentence_is_for_each_expression(tiny: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    from cmmasksd.models import OpenCLIPVisionTransformer

    monkeypatch.setattr(OpenCLIPVisionTransformer, 'needs_text', True, raising=False)
    parts = by_name(count_parts(tiny))
    assert parts['image encoder'].unit == parts['neck, projections'].unit == EXPRESSION
    assert parts['image embeddings'].unit == IMAGE


@pytest.mark.slow
def test_training_costs_more_by_each_branch(tiny: Config) -> None:
    found = count_training(tiny)
    assert list(found) == ['main', 'main + LMVSD', 'main + VMLSD', 'main + LMVSD + VMLSD']
    main, lmvsd, vmlsd, both = found.values()
    assert lmvsd - main > vmlsd - main > 0  # LMVSD encodes the image anew
    assert both - main == pytest.approx(lmvsd - main + vmlsd - main, rel=1e-3)


@pytest.mark.slow
def test_the_documented_numbers(no_default_scope: None) -> None:
    """docs/benchmarks.md's table of ViT-B/16 at 480."""
    number = r' ([\d.]+) \|'
    (row,) = re.findall(rf'^\| ViT-B/16 at 480 \|{number * 5}', DOCS.read_text(), re.MULTILINE)
    parts = by_name(count_parts(load('cm_masksd/ablations/baseline.py')))
    encoder = parts['image embeddings'].flops + parts['image encoder'].flops
    names = ('neck, projections', 'neck, fusion', 'layers', 'projector')
    found = [f'{encoder / 1e9:.0f}', *(f'{parts[name].flops / 1e9:.1f}' for name in names)]
    assert found == list(row)


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, 'argv', ['get_flops.py', *map(str, arguments)])
    runpy.run_path(str(ROOT / 'tools/analysis_tools/get_flops.py'), run_name='__main__')


@pytest.mark.slow
def test_the_tool_prints_both_tables(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    less = ('model.backbone.architecture.vision_cfg.layers=3', 'model.decode_head.num_layers=1')
    call(monkeypatch, ROOT / CONFIG, '--train', '--expressions', 4, '--shape', 96, 160, '--cfg-options', *less)
    said = capsys.readouterr().out
    for part in (
        'input 96 x 160',
        'neck, fusion',
        'image with 4 expressions; 0.',
        'main + LMVSD + VMLSD',
        'LMVSD has 96',
    ):
        assert part in said


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--shape', '100'], r'image_size \(100, 100\) is no multiple of the patch size 16'),
        (['--shape', '1', '2', '3'], '--shape takes a height and a width'),
        (['--expressions', '0'], "'0' is no whole number of at least 1"),
    ],
)
def test_what_cannot_be_is_told(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as caught:
        call(monkeypatch, ROOT / CONFIG, *arguments)
    assert re.search(message, f'{caught.value} {" ".join(capsys.readouterr().err.split())}')
