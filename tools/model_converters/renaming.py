"""What the converters of peers' weights share: names by patterns, and the command."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor


def rename(name: str, names: Mapping[str, str], method: str) -> str:
    """A parameter's name here.

    Args:
        name: there.
        names: patterns of a name's beginning, and what stands here in its place; the first that fits counts.
        method: whose names they are.

    Raises:
        ValueError: no pattern fits.
    """
    for pattern, target in names.items():
        if re.match(pattern + r'\.', name):
            return re.sub('^' + pattern, target, name)
    raise ValueError(f"'{name}' is no parameter of {method}.")


def parser_of(description: str | None, source: str) -> argparse.ArgumentParser:
    """A parser of the two files.

    Args:
        description: the converter's docstring.
        source: help on the first one.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', help=source)
    parser.add_argument('destination', help='where to write the converted state dict')
    return parser


def convert_file(args: argparse.Namespace, convert: Callable[[Mapping[str, Any]], dict[str, Tensor]]) -> None:
    """Reads ``args.source``, converts its content and writes ``args.destination``; a fault ends the process with a
    sentence.
    """
    from cmmasksd.checkpoints import load_checkpoint_file

    try:
        converted = convert(load_checkpoint_file(args.source))
    except (OSError, ValueError) as error:
        raise SystemExit(f'Error: {error}') from None
    torch.save({'state_dict': converted}, args.destination)
    print(f'{len(converted)} tensors written to {args.destination}.')
