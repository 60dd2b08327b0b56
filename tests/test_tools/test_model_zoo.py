"""The table of models is what its data and the configs say."""

from __future__ import annotations

import json
import subprocess
import sys

import yaml
from mmengine.config import Config

from cmmasksd.shipped import list_models
from tests.test_tools.running import ROOT, environment

sys.path.append(str(ROOT / 'tools/analysis_tools'))  # where the script finds its helpers
from benchmarking.zoo import time_models


def test_the_page_is_up_to_date() -> None:
    command = [sys.executable, 'tools/analysis_tools/model_zoo.py', '--check']
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_scores_are_the_papers() -> None:
    systems = yaml.safe_load((ROOT / 'configs/zoo.yml').read_text())['systems']
    assert len(systems) == 28
    rows = yaml.safe_load((ROOT / 'configs/cm_masksd/paper_tables.yml').read_text())['table_1']['rows']
    paper = {row['config']: row['scores'] for row in rows}
    compared = 0
    for system in systems:
        for name in system.get('configs', []):
            assert name in list_models()
            if name in paper:
                assert system['scores'] == [paper[name][split] for split in ('val', 'testA', 'testB')]
                compared += 1
    assert compared == 2


def test_models_are_timed_side_by_side() -> None:
    cfg = Config.fromfile(ROOT / 'configs/cm_masksd/vit-tiny_refshapes.py')
    other = Config.fromfile(ROOT / 'configs/cm_masksd/vit-tiny_refshapes-benchmark.py')
    found = time_models([cfg, other], cfg, repeats=2)
    assert found['rounds'] == 2 and found['machine']['threads'] >= 1
    assert list(found['times']) == [cfg.filename, other.filename]
    assert all(ratio > 0 for ratios in found['times'].values() for ratio in ratios)
    assert found['times'][cfg.filename][0] == 1


def test_every_shipped_system_has_times() -> None:
    systems = yaml.safe_load((ROOT / 'configs/zoo.yml').read_text())['systems']
    times = json.loads((ROOT / 'configs/zoo_times.json').read_text())['times']
    assert list(times) == [system['configs'][0] for system in systems if 'configs' in system]
    assert len(times) == 12 and all(len(ratios) == 2 for ratios in times.values())
