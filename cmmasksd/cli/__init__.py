"""The command ``cmmasksd``: doors to the tools, and ``segment``."""

from cmmasksd.cli.doors import main

__all__ = ['main']
