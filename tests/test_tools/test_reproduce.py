"""Every command of docs/reproduce.md: its tool, its options and its overrides are there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest

from cmmasksd.cfg_options import merge_options
from cmmasksd.engine.checks import check_config
from cmmasksd.shipped import open_config
from tests.test_tools.running import ROOT

TEXT = (ROOT / 'docs/reproduce.md').read_text(encoding='utf-8')
BLOCKS = '\n'.join(re.findall(r'```bash\n(.*?)```', TEXT, re.DOTALL)).replace('\\\n', ' ')
LINES = [*BLOCKS.splitlines(), *re.findall(r'`(bash tools[^`]+)`', TEXT)]
COMMANDS = [shlex.split(line.strip()) for line in LINES if re.match(r'\s*(python|bash) tools', line)]
TOOLS = sorted({command[1] for command in COMMANDS})
OF_SCRIPTS = {'tools/dist_train.sh': 'tools/train.py', 'tools/dist_test.sh': 'tools/test.py'}


def split_options(command: list[str]) -> tuple[set[str], dict[str, str]]:
    """The options of a command, and its overrides."""
    given = [word.partition('=') for word in command[2:] if re.match(r'[\w.]+=', word)]
    return {word for word in command if word.startswith('--')}, {key: value for key, _, value in given}


def test_there_are_commands_of_every_step() -> None:
    assert len(COMMANDS) > 18
    assert {f'tools/analysis_tools/{name}.py' for name in ('run_table', 'overfit_check', 'alignment')} <= set(TOOLS)


@pytest.mark.parametrize('command', COMMANDS, ids=' '.join)
def test_tools_and_options_are_there(command: list[str]) -> None:
    tool = ROOT / OF_SCRIPTS.get(command[1], command[1])
    assert tool.is_file()
    text = tool.read_text(encoding='utf-8')
    assert not [option for option in split_options(command)[0] if option not in text]


@pytest.mark.parametrize('command', [each for each in COMMANDS if split_options(each)[1]], ids=' '.join)
def test_overrides_fit_their_configs(command: list[str]) -> None:
    names = [word for word in command[2:] if word.startswith(('configs/', 'vit-'))]
    if not names and command[1].endswith('run_table.py'):
        names = ['vit-tiny_refshapes' if 'refshapes' in command else 'baseline']
    assert names
    cfg = open_config(names[0])
    merge_options(cfg, split_options(command)[1])
    check_config(cfg)


@pytest.mark.parametrize(
    'tool',
    [
        'tools/pretrain_tiny_clip.py',
        *(f'tools/analysis_tools/{n}.py' for n in ('run_table', 'overfit_check', 'alignment')),
    ],
)
def test_help_needs_no_framework(tool: str) -> None:
    folder = str((ROOT / tool).parent)
    code = (
        f"import runpy, sys; sys.argv = ['x', '--help']; sys.path.insert(0, {folder!r})\n"
        f'try: runpy.run_path({tool!r}, run_name="__main__")\nexcept SystemExit: pass\n'
        "print('torch' in sys.modules, 'open_clip' in sys.modules)"
    )
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 'usage:' in done.stdout and done.stdout.splitlines()[-1] == 'False False'
