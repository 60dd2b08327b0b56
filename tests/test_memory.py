"""Freed memory stays with the process."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import resource
import numpy as np
from cmmasksd.memory import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(20 << 20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(sum(faults() for _ in range(4)))
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='glibc is what is told')
def test_a_block_that_is_freed_and_asked_for_again_is_not_mapped_anew():
    kept, given_back = (
        int(
            subprocess.run(
                [sys.executable, '-c', CODE.format(keep=keep)], capture_output=True, text=True, check=True
            ).stdout
        )
        for keep in (True, False)
    )
    assert given_back > 100  # else there is nothing to save on this system
    assert kept < given_back / 10
