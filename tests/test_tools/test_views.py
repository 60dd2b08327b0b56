"""tools/test.py --tta and --show, run as a user runs them, on a model with random weights."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.registry import DefaultScope

from cmmasksd.datasets.refshapes import make_refshapes
from cmmasksd.registry import MODELS
from cmmasksd.shipped import open_config
from tests.forking import finish, run, start_job, tool
from tests.test_tools.running import CONFIG, ROOT

OWN = """
_base_ = {base!r}
tta_model = dict(type='ReferringTTAModel')
tta_pipeline = [
    dict(type='LoadReferringImage'),
    dict(type='SelectSentences', mode='all'),
    dict(type='LoadReferringMasks'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)],
            [dict(type='LetterboxResize', size=(128, 128), resize_masks=False)],
            [dict(type='TokenizeExpressions', token_length=17)],
            [dict(type='PackReferringInputs')],
        ],
    ),
]
"""


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp('data')
    make_refshapes(root, num_images=40, seed=3)
    return [
        f'test_dataloader.dataset.data_root={root}',
        'test_dataloader.dataset.indices=2',
        'test_dataloader.batch_size=1',
        'model.threshold=0.5',
        'test_cfg.splits=["val"]',
    ]


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('cmmasksd'):
        model = MODELS.build(open_config(ROOT / CONFIG).model)
    path = tmp_path_factory.mktemp('weights') / 'random.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    return path


def evaluate(
    folder: Path, checkpoint: Path, data: list[str], *words: object, config: object = CONFIG
) -> tuple[dict, str]:
    """The metrics and what was printed."""
    out, log = folder / 'metrics.json', folder / 'output'
    command = ('tools/test.py', config, checkpoint, '--work-dir', folder, '--out', out, *words, '--cfg-options', *data)
    assert run(tool, *command, log=log) == 0, log.read_text()[-3000:]
    return json.loads(out.read_text()), log.read_text()


@pytest.fixture(scope='module')
def averaged(data: list[str], checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """The metrics over views, of one process."""
    folder = tmp_path_factory.mktemp('one')
    shown = ('--tta', '--show', '--show-dir', folder / 'panels')
    metrics, said = evaluate(folder, checkpoint, data, *shown)
    assert len(list((folder / 'panels').rglob('*.png'))) == 2
    assert said.count('No window can be opened here') == 1
    return metrics


@pytest.mark.slow
def test_two_processes_average_as_one(
    averaged: dict[str, float], data: list[str], checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / 'metrics.json'
    words = ('--tta', '--launcher', 'pytorch', '--work-dir', tmp_path, '--out', out, '--cfg-options', *data)
    assert finish(*start_job(2, tmp_path, tool, 'tools/test.py', CONFIG, checkpoint, *words)) == [0, 0]
    assert json.loads(out.read_text()) == averaged


@pytest.mark.slow
def test_views_of_ones_own_config_are_those_views(
    averaged: dict[str, float], data: list[str], checkpoint: Path, tmp_path: Path
) -> None:
    """Written as mmseg's users do, with mmcv's flip, the mirrored view first."""
    own = tmp_path / 'own.py'
    own.write_text(OWN.format(base=str(ROOT / CONFIG)))
    found, _ = evaluate(tmp_path, checkpoint, data, '--tta', config=own)
    assert found == averaged
    plain, _ = evaluate(tmp_path, checkpoint, data)
    assert plain != averaged and plain['val/num_expressions'] == averaged['val/num_expressions']


def load(monkeypatch: pytest.MonkeyPatch, *words: str) -> Any:
    monkeypatch.setattr(sys, 'argv', ['test.py', str(ROOT / CONFIG), 'checkpoint.pth', *words])
    module = runpy.run_path(str(ROOT / 'tools/test.py'))
    return module['load_config'](module['parse_args']())


def test_amp_and_thresholds_reach_the_model_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = load(monkeypatch, '--tta', '--amp', '--cfg-options', 'model.threshold=0.2')
    assert cfg.model.type == 'cmmasksd.ReferringTTAModel'
    assert (cfg.model.module.precision, cfg.model.module.threshold) == ('bfloat16', 0.2)
    assert cfg.test_dataloader.dataset.pipeline[-1].type == 'mmcv.TestTimeAug'
    assert cfg.val_dataloader.dataset.pipeline[-1].type == 'PackReferringInputs'


def test_scales_of_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = load(monkeypatch, '--tta', '--tta-scales', '0.5', '1')
    letterboxes = cfg.test_dataloader.dataset.pipeline[-1].transforms[1]
    assert [step.scale for step in letterboxes] == [0.5, 1.0]


def test_windows_are_asked_of_the_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = load(monkeypatch, '--show').default_hooks.visualization
    assert (hook.draw, hook.show, hook.wait_time, hook.get('out_dir')) == (True, True, 2, None)
    assert load(monkeypatch, '--show', '--wait-time', '0').default_hooks.visualization.wait_time == 0


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--wait-time', '1'], '--wait-time needs --show'),
        (['--show', '--wait-time', '-1'], 'is no number of seconds|expected one argument'),
        (['--show', '--wait-time', 'nan'], "'nan' is no number of seconds"),
        (['--tta-scales', '0.5'], '--tta-scales needs --tta'),
        (['--tta', '--tta-scales', '1.25'], "'1.25' is no number above 0, at most 1"),
        (['--tta', '--tta-scales', '0'], "'0' is no number above 0, at most 1"),
        (['--tta', '--tta-scales'], 'expected at least one argument'),
    ],
)
def test_what_cannot_be_meant(
    words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as caught:
        load(monkeypatch, *words)
    assert caught.value.code == 2
    assert re.search(message, ' '.join(capsys.readouterr().err.split()))
