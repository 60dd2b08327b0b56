"""Process groups: on machines without accelerators, where mmengine's launchers fail as shipped, and what several
processes need everywhere.
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from types import TracebackType

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.device import get_device

DDP = 'MMDistributedDataParallel'
# Gradients lie in the buckets that are exchanged: no second copy of them is kept or made. Buffers are averaged before
# they count (AverageStatisticsHook) and need no broadcast in every step. Every parameter gets a gradient in every step,
# so that nothing unused is looked for; a static graph would not bear a step that is skipped (NonFiniteLossHook).
SETTINGS = dict(broadcast_buffers=False, gradient_as_bucket_view=True)
FIRST_PORT, PORTS = 20000, 10000  # below those that systems give away by themselves
# What gloo and NCCL say where another process has gone.
LOST = ('gloo', 'Connection reset', 'Connection closed', 'Connection refused', 'Broken pipe', 'NCCL', 'Timed out')
# Where each launcher leaves a process's rank, the number of processes, and its rank on this host.
RANK_VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}


def prepare_launcher(cfg: Config, launcher: str) -> None:
    """Makes ``launcher`` work on CPUs too, where it starts a gloo group; sets what DDP is not told, and has the end of
    another process said in one sentence.

    On accelerators mmengine starts the group (NCCL) and names the device.

    Args:
        cfg: the run's config; ``model_wrapper_cfg`` is adapted.
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.
    """
    if launcher == 'none':
        return
    on_cpu = get_device() == 'cpu'
    _set_slurm_port(launcher)
    if on_cpu and not dist.is_initialized():
        _adopt_ranks(launcher)
        # as on accelerators; without it torch's own, 30 minutes
        seconds = cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout')
        dist.init_process_group('gloo', timeout=None if seconds is None else timedelta(seconds=seconds))
    given = cfg.get('model_wrapper_cfg') or {}
    if given.get('type', DDP) in (DDP, f'mmengine.{DDP}'):
        unused = cfg.get('find_unused_parameters', False)
        no_device = dict(device_ids=None) if on_cpu else {}
        cfg.model_wrapper_cfg = {'type': DDP, **SETTINGS, 'find_unused_parameters': unused, **given, **no_device}
    sys.excepthook = _tell_of_lost_processes


def leave_process_group() -> None:
    """Ends this process's part in the group, if there is one: call it last. Left to the interpreter's end, torch's
    threads may abort the process.
    """
    if dist.is_initialized():
        dist.destroy_process_group()


def _adopt_ranks(launcher: str) -> None:
    """Translates the launcher's variables to those that torch reads."""
    for target, source in zip(RANK_VARIABLES['pytorch'], RANK_VARIABLES[launcher]):
        if source not in os.environ:
            raise RuntimeError(
                f'--launcher {launcher} needs the environment variable {source}: start the tool through that launcher.'
            )
        os.environ[target] = os.environ[source]
    os.environ.setdefault('MASTER_PORT', '29500')
    if 'MASTER_ADDR' not in os.environ:
        os.environ['MASTER_ADDR'] = _first_slurm_host() if launcher == 'slurm' else '127.0.0.1'


def _set_slurm_port(launcher: str) -> None:
    """Two jobs that share a node must not meet at one port; all processes of one find the same."""
    if launcher == 'slurm' and 'SLURM_JOB_ID' in os.environ:
        os.environ.setdefault('MASTER_PORT', str(FIRST_PORT + int(os.environ['SLURM_JOB_ID']) % PORTS))


def _tell_of_lost_processes(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """An ``excepthook``: where other processes are gone, torch's words about connections are only an echo of what they
    said.
    """
    lost = isinstance(error, RuntimeError) and any(word in str(error) for word in LOST)
    if not lost:
        sys.__excepthook__(kind, error, trace)
        return
    rank, processes = os.environ.get('RANK', '?'), os.environ.get('WORLD_SIZE', '?')
    print(
        f'Process {rank} of {processes} stops: another process is gone, or did not answer in time. Its own last words '
        'tell why: look for them above, or in the output of the other machines; then go on with --resume auto. Here '
        f'it was noticed as: {error}',
        file=sys.stderr,
    )


def _first_slurm_host() -> str:
    command = ['scontrol', 'show', 'hostname', os.environ['SLURM_NODELIST']]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]


def autocast(enabled: bool) -> torch.autocast:
    """bfloat16 autocast on whatever device there is; it needs no gradient scaler."""
    return torch.autocast(get_device().split(':')[0], dtype=torch.bfloat16, enabled=enabled)
