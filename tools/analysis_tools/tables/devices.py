"""Which devices, and how many threads, the runs that go on at a time have."""

from __future__ import annotations

import os


def share_out(jobs: int | None, processes: int) -> list[dict[str, str]]:
    """The environments of runs that go on at a time: GPUs of their own while there are enough, threads of their own
    where there is none.

    Args:
        jobs: how many; None: as many as GPUs allow, one without any.
        processes: of a run.
    """
    import torch

    inherited = dict(os.environ)
    count = torch.cuda.device_count()
    if not count:
        jobs = jobs or 1
        if jobs * processes > 1:
            inherited.setdefault('OMP_NUM_THREADS', str(max(1, (os.cpu_count() or 1) // (jobs * processes))))
        return [inherited] * jobs
    visible = os.environ.get('CUDA_VISIBLE_DEVICES')
    names = visible.split(',')[:count] if visible else [str(index) for index in range(count)]
    jobs = jobs or max(1, count // processes)
    groups = [[names[(job * processes + each) % count] for each in range(min(processes, count))] for job in range(jobs)]
    return [{**inherited, 'CUDA_VISIBLE_DEVICES': ','.join(group)} for group in groups]
