"""Which command leads where. Nothing is imported, or read, before a command is known."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, NoReturn

from cmmasksd import __version__

TOOLS = Path(__file__).resolve().parents[1] / '.mim' / 'tools'
CTRL_C = 130  # a shell's exit status for it


class Door(NamedTuple):
    """Where a command leads: a script of ``tools/``, or a module with a function ``main``."""

    target: str
    summary: str


DOORS = {
    'segment': Door('cmmasksd.cli.segment', 'find what sentences refer to, in pictures or in a whole table of them'),
    'web': Door('web.py', 'the same in a browser'),
    'label-studio': Door('label_studio.py', 'answer Label Studio with masks'),
    'to-label-studio': Door('dataset_converters/to_label_studio.py', 'make labelled tasks of predictions'),
    'from-label-studio': Door('dataset_converters/from_label_studio.py', 'make a table of what was labelled there'),
    'convert': Door('dataset_converters/convert_custom.py', 'make a trainable set and its config of your own table'),
    'check': Door('dataset_converters/check_refer.py', 'find everything that is wrong with a data set'),
    'train': Door('train.py', 'train a model'),
    'evaluate': Door('cmmasksd.cli.evaluate', "evaluate a checkpoint, or score anyone's masks by a protocol"),
    'test': Door('test.py', "evaluate, by OpenMMLab's name"),
    'export': Door('deployment/export_onnx.py', 'make ONNX graphs of a model, to run without torch'),
    'publish': Door('misc/publish_model.py', 'make a file or folder to pass on of a checkpoint'),
}


def main(arguments: list[str] | None = None) -> None:
    """Runs a command with what follows it on the command line.

    Args:
        arguments: the command and its own; None: those of this process.
    """
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ['--help']
    if name in ('-h', '--help'):
        print(_usage())
    elif name in ('-V', '--version'):
        print(f'cmmasksd {__version__}')
    elif name in DOORS:
        _enter(name, rest)
    else:
        _refuse(name)


def _enter(name: str, arguments: list[str]) -> None:
    sys.argv = [f'cmmasksd {name}', *arguments]  # which the tool's parser reads
    target = DOORS[name].target
    try:
        if target.endswith('.py'):
            run_script(TOOLS / target)
        else:
            run: Callable[[], None] = importlib.import_module(target).main
            run()
    except KeyboardInterrupt:
        raise SystemExit(CTRL_C) from None


def run_script(path: Path) -> None:
    """Runs a script as Python would, but under the name in ``sys.argv``, which runpy would replace."""
    before, script = sys.modules['__main__'], ModuleType('__main__')
    script.__file__ = str(path)
    sys.modules['__main__'] = script
    try:
        exec(compile(path.read_bytes(), str(path), 'exec'), vars(script))
    finally:
        sys.modules['__main__'] = before


def _usage() -> str:
    width = max(map(len, DOORS))
    lines = [f'  {name:{width}}  {door.summary}' for name, door in DOORS.items()]
    return '\n'.join(
        [
            'usage: cmmasksd COMMAND ...',
            '',
            'Referring image segmentation: a picture and a sentence go in, the mask of the one object meant comes out.',
            '',
            *lines,
            '',
            'cmmasksd COMMAND --help tells more of each; cmmasksd --version the version.',
        ]
    )


def _refuse(name: str) -> NoReturn:
    near = difflib.get_close_matches(name, DOORS, n=1)
    hint = f'did you mean {near[0]}?' if near else f'the commands are {", ".join(DOORS)}'
    print(f'cmmasksd: error: there is no command {name!r}; {hint}', file=sys.stderr)
    raise SystemExit(2)
