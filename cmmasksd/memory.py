"""How the C library's allocator treats the large, short-lived blocks of pictures and activations."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
LARGEST_THRESHOLD = 32 << 20  # bytes; glibc refuses more


def keep_freed_memory() -> bool:
    """Lets this process and those forked from it keep freed memory instead of giving it back to the system after each
    step.

    By default glibc maps every large block anew, and the system fills each of its pages with zeros at the first touch:
    thousands of page faults in a training step on a CPU, and some hundred a picture in a data loader. The peak of
    memory stays about the same; what is freed stays with the process.

    Returns:
        Whether this C library could be told; other ones than glibc are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    return mallopt is not None and bool(mallopt(M_MMAP_THRESHOLD, LARGEST_THRESHOLD) and mallopt(M_TRIM_THRESHOLD, -1))
