"""Experiments: which runs there are, what is kept of them, and how arms are compared."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from mmengine.config import Config

from tests import forking
from tests.test_tools.running import ROOT, environment

TOOLS = ROOT / 'tools/analysis_tools'
TOOL = 'tools/analysis_tools/run_experiment.py'
EXPERIMENT = dict(
    title='branches',
    config='vit-tiny_refshapes',
    common=dict(train_cfg=dict(max_epochs=3)),
    conditions={'5 %': dict(train_dataloader=dict(dataset=dict(indices=8))), 'all': None},
    arms={
        'none': dict(model=dict(distillation=[])),
        'LMVSD': dict(model=dict(distillation=[dict(type='LMVSD')]), train_cfg=dict(max_epochs=4)),
    },
    only={'LMVSD': ['all']},
    baseline='none',
    metrics=['val/mIoU'],
)
# stands in for train.py and test.py: the score follows from the config's name and the seed
TRAIN = """
import json, sys
from pathlib import Path
folder = Path(sys.argv[sys.argv.index('--work-dir') + 1])
with open(folder / 'count', 'a') as count:
    count.write('x')
log = folder / '20260102_030405/vis_data'
log.mkdir(parents=True)
steps = [dict(loss=1.0, time=0.5, step=step) for step in (50, 100)] + [{'mIoU': 50.0, 'step': 2}]
(log / 'scalars.json').write_text('\\n'.join(map(json.dumps, steps)))
(folder / 'epoch_1.pth').touch()
(folder / 'last_checkpoint').write_text(str(folder / 'epoch_1.pth'))
"""
TEST = """
import json, sys
from pathlib import Path
seed = int(Path(sys.argv[2]).parent.name.removeprefix('seed_'))
bonus = 2 + seed if 'lmvsd' in sys.argv[1] else 0
Path(sys.argv[sys.argv.index('--out') + 1]).write_text(json.dumps({'val/mIoU': 60 + 5 * seed + bonus}))
"""


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOOLS))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / 'design'
    made.mkdir()
    (made / 'experiment.yml').write_text(yaml.safe_dump(EXPERIMENT, sort_keys=False))
    return made


def run_on_stubs(stubs: Path, arguments: list[str]) -> None:
    """The tool with stand-ins for training and evaluation, in a process of its own."""
    os.environ.update(CUDA_VISIBLE_DEVICES='')
    sys.path.insert(0, str(TOOLS))
    import tables.working

    tables.working.TOOLS = stubs
    forking.tool(TOOL, *arguments)


def start(folder: Path, *arguments: str) -> tuple[int, str]:
    stubs = folder.parent
    (stubs / 'train.py').write_text(TRAIN)
    (stubs / 'test.py').write_text(TEST)
    process = forking.start(
        run_on_stubs, stubs, [str(folder), '--work-dir', str(stubs / 'work'), *arguments], log=stubs / 'log'
    )
    (code,) = forking.finish(process)
    return code, (stubs / 'log').read_text()


def test_runs_are_trained_kept_and_compared(folder: Path) -> None:
    code, printed = start(folder, '--seeds', '0', '1', '2', '--jobs', '2')
    assert code == 0, printed
    kept = {file.stem: json.loads(file.read_text()) for file in (folder / 'runs').glob('*.json')}
    assert len(kept) == 9 and 'all_lmvsd_seed-2' in kept and '5_lmvsd_seed-0' not in kept
    run = kept['all_lmvsd_seed-2']
    assert (run['steps'], run['seconds'], run['date']) == (100, 50.0, '2026-01-02')
    assert run['metrics'] == {'val/mIoU': 74}
    assert run['settings'] == {'train_cfg': {'max_epochs': 4}, 'model': {'distillation': [{'type': 'LMVSD'}]}}

    code, printed = start(folder, '--seeds', '0', '1', '2')  # gone on with: nothing is left to do
    assert code == 0 and '9 of 9 runs are finished' in printed
    assert {file.read_text() for file in (folder.parent / 'work').rglob('count')} == {'x'}

    code, printed = start(folder, '--report')
    assert code == 0, printed
    # differences 2, 3, 4: their mean 3, standard error 1/sqrt(3), and t(0.975; 2) is 4.303
    assert '| LMVSD | 3 | 68.00 ± 6.00 | +3.00 (+0.52 to +5.48) | 0.035 |' in printed
    assert '| none | 3 | 65.00 ± 5.00 |  |  |' in printed
    assert printed.count('**') == 4 and (folder / 'tables.md').read_text().startswith('# branches')
    assert (folder / 'val_miou.png').stat().st_size > 5000


def test_configs_hold_what_the_experiment_says(folder: Path) -> None:
    from experiments.planning import plan
    from experiments.reading import read_experiment

    experiment = read_experiment(folder)
    runs = plan(experiment, ['none', 'LMVSD'], ['5 %', 'all'], [3], folder / 'work')
    assert [run.name for run in runs] == ['5 %/none, seed 3', 'all/none, seed 3', 'all/LMVSD, seed 3']
    small, _, lmvsd = (Config.fromfile(run.config) for run in runs)
    assert small.train_dataloader.dataset.indices == 8 and not small.model.distillation
    assert small.train_cfg.max_epochs == 3 and lmvsd.train_cfg.max_epochs == 4
    assert [branch.type for branch in lmvsd.model.distillation] == ['LMVSD']


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(baseline='nothing'), 'is none of the arms'),
        (dict(only={'LMVSD': ['half']}), 'only.LMVSD'),
        (dict(armz={}), 'armz missing or unknown'),
    ],
)
def test_what_does_not_fit_is_said(folder: Path, change: dict, message: str) -> None:
    (folder / 'experiment.yml').write_text(yaml.safe_dump({**EXPERIMENT, **change}))
    code, printed = start(folder)
    assert code == 1 and message in printed


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--arms', 'VMLSD'], "the experiment has no arm 'VMLSD'; it has none, LMVSD"),
        (['--conditions', 'half'], "has no condition 'half'"),
        (['--seeds', '1', '1'], '--seeds are different numbers'),
        (['--report'], 'holds no finished run'),
    ],
)
def test_what_cannot_be_is_refused(folder: Path, arguments: list[str], message: str) -> None:
    code, printed = start(folder, *arguments)
    assert code and message in ' '.join(printed.split())


def test_only_common_seeds_are_compared() -> None:
    from experiments.comparing import comparison

    found = comparison('all', 'LMVSD', 'val/mIoU', {0: 61.0, 1: 63.0, 7: 10.0}, {0: 60.0, 1: 60.0, 2: 99.0})
    assert (found.pairs, found.effect) == (2, 2.0)
    half = 12.706 * math.sqrt(2) / math.sqrt(2)  # t(0.975; 1) times the standard error of 1 and 3
    assert found.interval == pytest.approx((2 - half, 2 + half), abs=1e-2)
    alone = comparison('all', 'LMVSD', 'val/mIoU', {0: 61.0}, {0: 60.0})
    assert (alone.effect, alone.interval, alone.p_value, alone.spread) == (1.0, None, None, None)


@pytest.mark.slow
def test_a_metric_may_be_the_mean_of_several_splits() -> None:
    from experiments.comparing import values_of

    runs = [
        dict(condition='all', arm='none', seed=seed, metrics={'testA/mIoU': 40.0 + seed, 'testB/mIoU': last})
        for seed, last in ((0, 60.0), (1, None))
    ]
    assert values_of(runs, 'all', 'none', 'testA+testB/mIoU') == {0: 50.0}
    assert values_of(runs, 'all', 'none', 'testA/mIoU') == {0: 40.0, 1: 41.0}
    assert values_of(runs, 'all', 'none', 'testA+testC/mIoU') == {}


def test_the_config_may_lie_beside_the_experiment(folder: Path) -> None:
    from experiments.planning import plan
    from experiments.reading import read_experiment

    (folder / 'model.py').write_text(
        "_base_ = 'cmmasksd::cm_masksd/vit-tiny_refshapes.py'\nmodel = dict(threshold=0.5)\n"
    )
    (folder / 'experiment.yml').write_text(yaml.safe_dump({**EXPERIMENT, 'config': 'model.py'}, sort_keys=False))
    (run,) = plan(read_experiment(folder), ['none'], ['all'], [0], folder / 'work')
    assert Config.fromfile(run.config).model.threshold == 0.5


@pytest.mark.parametrize('name', ['branches', 'controls', 'choices'])
def test_the_experiments_that_are_shipped_can_be_planned(name: str, tmp_path: Path) -> None:
    from experiments.planning import plan
    from experiments.reading import read_experiment

    experiment = read_experiment(ROOT / 'docs/evidence' / name)
    runs = plan(experiment, list(experiment.arms), list(experiment.conditions), [0], tmp_path)
    assert len(runs) >= 8
    kept = {json.loads(file.read_text())['arm'] for file in (ROOT / 'docs/evidence' / name).glob('runs/*.json')}
    assert kept <= set(experiment.arms) and (kept or name == 'choices')
    for run in runs:
        cfg = Config.fromfile(run.config)
        assert cfg.train_cfg.max_iters >= 750 and 'LateDistillationHook' not in {hook.type for hook in cfg.custom_hooks}


def test_two_arms_are_trained_for_real(refshapes_root: Path, tmp_path: Path) -> None:
    names = ('train', 'val', 'test')
    data = {
        f'{name}_dataloader': dict(dataset=dict(data_root=str(refshapes_root), indices=16 if name == 'train' else 1))
        for name in names
    }
    content = {**EXPERIMENT, 'common': {**data, 'train_cfg': dict(max_epochs=1)}, 'conditions': {'all': None}}
    content['arms'] = {
        'none': dict(model=dict(distillation=[])),
        'AMLRIS': dict(model=dict(distillation=[dict(type='AMLRIS')])),
    }
    content['only'] = {}
    (tmp_path / 'experiment.yml').write_text(yaml.safe_dump(content))
    command = [sys.executable, TOOL, str(tmp_path), '--jobs', '2', '--work-dir', str(tmp_path / 'work')]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    kept = [json.loads(file.read_text()) for file in sorted((tmp_path / 'runs').glob('*.json'))]
    assert [run['arm'] for run in kept] == ['AMLRIS', 'none']
    for run in kept:
        assert run['steps'] == 1 and run['seconds'] > 0 and 0 <= run['metrics']['val/mIoU'] <= 100
