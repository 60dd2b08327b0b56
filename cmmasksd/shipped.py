"""What the package brings beside its code: configs, tools and the model index, in the folder ``.mim`` where mmengine
and ``mim`` look for them.

In a checkout that folder holds links, in a wheel the files. ``python -m cmmasksd.shipped tools/train.py`` prints where
a file of it lies.
"""

from __future__ import annotations

import argparse
import difflib
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from mmengine.config import Config

from cmmasksd import registry

HOME = Path(__file__).resolve().parent / '.mim'


@cache
def _shipped_configs() -> dict[str, Path]:
    """Files of the shipped configs by name, without those that are only bases."""
    root = (HOME / 'configs').resolve()
    files = sorted(path for path in root.rglob('*.py') if '_base_' not in path.relative_to(root).parts)
    return {path.stem: path for path in files}


def list_models(pattern: str | None = None) -> list[str]:
    """Names of the shipped configs, in order, as :func:`find_config` takes them.

    Args:
        pattern: a part of the name, in which ``*`` and ``?`` stand for anything; None: all.
    """
    return [name for name in sorted(_shipped_configs()) if fnmatchcase(name, f'*{pattern or ""}*')]


def find_config(config: str | Path) -> str:
    """The path of a config.

    Args:
        config: a path; or, where no such file is, the name of a shipped config: ``vit-b_refcoco``,
            ``configs/cm_masksd/vit-b_refcoco.py`` or ``cmmasksd::cm_masksd/vit-b_refcoco.py``.

    Raises:
        FileNotFoundError: neither is there; names those that are like it.
        TypeError: neither a path nor a name.
    """
    if not isinstance(config, (str, Path)):
        raise TypeError(f'A config must be a path, a name such as vit-b_refcoco, or a Config; got {config!r:.80}.')
    path = Path(config).expanduser()
    if path.is_file():
        return str(path)
    asked = str(config).removeprefix(f'{registry.SCOPE}::').removesuffix('.py')
    shipped = _shipped_configs().get(Path(asked).name)
    if shipped and shipped.with_suffix('').as_posix().endswith(f'/{asked}'):
        return str(shipped)
    near = difflib.get_close_matches(Path(asked).name, list_models(), n=3) or list_models('vit')
    raise FileNotFoundError(
        f'{config}: no such file, and no shipped config has that name. Write a path, or a name such as '
        f'{", ".join(near)}; cmmasksd.apis.list_models() gives all.'
    )


def open_config(config: str | Path) -> Config:
    """The config of a path or a shipped name; ``_base_`` may be ``'cmmasksd::...'``.

    Raises:
        FileNotFoundError: see :func:`find_config`.
    """
    return Config.fromfile(find_config(config))


def main() -> None:
    parser = argparse.ArgumentParser(prog='python -m cmmasksd.shipped', description='Prints where a shipped file lies.')
    parser.add_argument('file', help='such as tools/train.py, tools/dist_train.sh, or a config by path or name')
    args = parser.parse_args()
    path = HOME / args.file
    try:
        print(path if path.exists() else find_config(args.file))
    except FileNotFoundError as error:
        parser.error(str(error))


if __name__ == '__main__':
    main()
