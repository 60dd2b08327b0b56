"""What command lines take as arguments; checked when they are read, not after hours of work."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

CHOICES = ('auto', 'float32', 'bfloat16', 'float16')  # as cmmasksd.precision has them, which imports torch


def writable_file(path: str) -> str:
    """An argument that names a file to write; its folder is made."""
    if Path(path).is_dir():
        raise argparse.ArgumentTypeError(f'{path} is a folder; name a file in it')
    writable_folder(str(Path(path).parent))
    return path


def writable_folder(path: str) -> str:
    """An argument that names a folder to write to; it is made."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f'{path} cannot be made ({error.strerror}); choose another folder') from error
    if not os.access(path, os.W_OK):
        raise argparse.ArgumentTypeError(f'{path} cannot be written; choose another folder')
    return path


def add_precision(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Adds ``--precision``; without a default it is the model's own."""
    own = default or "the model's, float32"
    parser.add_argument(
        '--precision',
        choices=CHOICES,
        default=default,
        help=f'what to compute in; auto: bfloat16 where the device is faster so (default: {own})',
    )


def positive(text: str) -> int:
    """An argument that is a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is no whole number of at least 1')
    return int(text)


def fraction(text: str) -> float:
    """An argument from 0 to 1, as opacities are."""
    number = _number(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f'{text!r} is no number from 0 to 1')
    return number


def threshold(text: str) -> float:
    """An argument that probabilities are compared with: at least 0 and below 1."""
    number = _number(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is no number of at least 0 and below 1')
    return number


def share(text: str) -> float:
    """An argument that is a part of a whole: above 0, at most 1."""
    number = _number(text)
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f'{text!r} is no number above 0, at most 1')
    return number


def seconds(text: str) -> float:
    """An argument that is a time of at least 0."""
    number = _number(text)
    if not 0 <= number < float('inf'):
        raise argparse.ArgumentTypeError(f'{text!r} is no number of seconds')
    return number


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is no number') from None
