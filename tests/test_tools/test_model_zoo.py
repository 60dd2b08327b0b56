"""The table of models is what its data and the configs say."""

from __future__ import annotations

import subprocess
import sys

import yaml

from cmmasksd.shipped import list_models
from tests.test_tools.running import ROOT, environment


def test_the_page_is_up_to_date() -> None:
    command = [sys.executable, 'tools/analysis_tools/model_zoo.py', '--check']
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_scores_are_the_papers() -> None:
    systems = yaml.safe_load((ROOT / 'configs/zoo.yml').read_text())['systems']
    assert len(systems) == 23
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
