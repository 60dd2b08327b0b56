"""The command and its doors."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cmmasksd.cli.doors import DOORS, TOOLS, main
from tests.test_tools.running import ROOT, run_tool


@pytest.mark.parametrize('arguments', [[], ['--help'], ['segment', '--help']])
def test_help_needs_no_framework(arguments: list[str]) -> None:
    code = (
        'import sys\nfrom cmmasksd.cli import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit as end:\n'
        "    assert not end.code\nassert not {'torch', 'mmengine', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, '-c', code, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('usage: cmmasksd')


def test_every_door_leads_somewhere(capsys: pytest.CaptureFixture) -> None:
    main(['--help'])
    told = capsys.readouterr().out
    for name, door in DOORS.items():
        assert f'  {name} ' in told and door.summary in told
        assert not door.target.endswith('.py') or (TOOLS / door.target).is_file()


@pytest.mark.parametrize('name', [name for name, door in DOORS.items() if door.target.endswith('.py')])
def test_a_tool_speaks_under_the_commands_name(
    name: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, 'argv', ['cmmasksd', name, '--help'])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f'usage: cmmasksd {name}')


@pytest.mark.parametrize(
    ('name', 'message'), [('segmnt', 'did you mean segment?'), ('x', 'the commands are segment, web, ')]
)
def test_other_commands_are_refused(name: str, message: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        main([name])
    assert end.value.code == 2 and message in capsys.readouterr().err


def test_the_module_is_the_command() -> None:
    assert run_tool('-m', 'cmmasksd', '--version').stdout.startswith('cmmasksd ')
