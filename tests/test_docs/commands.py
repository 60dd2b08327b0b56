"""The commands of a bash block, and what their tools' --help says."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

from cmmasksd.cli.doors import DOORS
from cmmasksd.cli.evaluate import make_parser
from tests.test_docs.code_blocks import ROOT

OF_SCRIPTS = {
    'tools/dist_train.sh': 'tools/train.py',
    'tools/slurm_train.sh': 'tools/train.py',
    'tools/dist_test.sh': 'tools/test.py',
    'tools/slurm_test.sh': 'tools/test.py',
}
LEADS = re.compile(r'\s*(?:\w+=\S+ )*(?=(?:python|bash|cmmasksd|torchrun) )')


def read_commands(source: str) -> Iterator[list[str]]:
    """The commands of ours in a script, word by word: those of python, bash and cmmasksd."""
    for line in source.replace('\\\n', ' ').splitlines():
        for part in re.split(r'&&|;', line):
            if found := LEADS.match(part):
                yield shlex.split(part[found.end() :], comments=True)


def tool_of(command: list[str]) -> str | None:
    """The script or module that reads a command's options; None: not one of ours that has any."""
    first, *rest = command
    if first == 'torchrun':
        return tool_of(['cmmasksd', *rest[rest.index('cmmasksd') + 1 :]])
    if first == 'cmmasksd' or rest[:2] == ['-m', 'cmmasksd']:
        name = next((word for word in rest if word in DOORS), None)
        assert name or '--help' in rest, f'no such command: {command}'
        target = DOORS[name].target if name else ''
        return f'tools/{target}' if target.endswith('.py') else target or None
    if rest[:1] == ['-m']:
        return rest[1] if rest[1].startswith('cmmasksd') else None
    return OF_SCRIPTS.get(rest[0], rest[0]) if rest and rest[0].startswith(('tools/', 'demo/')) else None


@cache
def help_of(tool: str) -> str:
    """What a tool prints for --help, run in this process."""
    said, path = io.StringIO(), [str((ROOT / tool).parent), *sys.path]
    with patch('sys.argv', [tool, '--help']), patch('sys.path', path), contextlib.redirect_stdout(said):
        with contextlib.suppress(SystemExit):
            if tool.endswith('.py'):
                runpy.run_path(str(ROOT / tool), run_name='__main__')
            elif tool.startswith('cmmasksd.cli'):
                import_module(tool).main()
            else:
                runpy.run_module(tool, run_name='__main__')
    return said.getvalue()


def unknown_options(command: list[str]) -> list[str]:
    """The options of a command that its tool does not have; a tool that is not there is an AssertionError."""
    tool = tool_of(command)
    if tool is None:
        return []
    assert not tool.startswith(('tools/', 'demo/')) or (ROOT / tool).is_file(), f'{tool} is not there'
    if tool.endswith('.sh'):
        known = (ROOT / tool).read_text()
    else:
        # the door tells of scoring once a protocol is named
        known = make_parser().format_help() if '--protocol' in command else help_of(tool)
        assert 'usage' in known, f'{tool} has no help'
    place = next((place for place, word in enumerate(command) if word in ('cmmasksd', tool)), 0)
    given = [word.partition('=')[0] for word in command[place:] if re.match(r'--[a-z]', word)]
    return [option for option in given if not re.search(rf'{re.escape(option)}(?![\w-])', known)]


def overrides_of(command: list[str]) -> dict[str, str]:
    """What follows --cfg-options, until the next option."""
    given: dict[str, str] = {}
    if '--cfg-options' in command:
        for word in command[command.index('--cfg-options') + 1 :]:
            if word.startswith('--') or '=' not in word:
                break
            key, _, value = word.partition('=')
            given[key] = value
    return given


def configs_of(command: list[str]) -> list[str]:
    """The shipped configs that a command names."""
    return [word for word in command if Path(word).suffix == '.py' and word.startswith('configs/')] + [
        word for word in command if re.fullmatch(r'vit-[\w+-]+', word)
    ]
