"""Process groups on machines without accelerators, where mmengine's launchers fail as shipped."""

from __future__ import annotations

import os
import subprocess
from datetime import timedelta

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.device import get_device

# Where each launcher leaves a process's rank, the number of processes, and its rank on this host.
RANK_VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}


def prepare_launcher(cfg: Config, launcher: str) -> None:
    """Makes ``launcher`` work on CPUs too: starts a gloo group and tells the model wrapper that there is no device to
    name.

    On accelerators mmengine does all that is needed (NCCL), and nothing is changed.

    Args:
        cfg: the run's config; ``model_wrapper_cfg`` is adapted.
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.
    """
    if launcher == 'none' or get_device() != 'cpu':
        return
    if not dist.is_initialized():
        _adopt_ranks(launcher)
        # as on accelerators; without it torch's own, 30 minutes
        seconds = cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout')
        dist.init_process_group('gloo', timeout=None if seconds is None else timedelta(seconds=seconds))
    wrapper = cfg.get('model_wrapper_cfg') or dict(
        broadcast_buffers=False, find_unused_parameters=cfg.get('find_unused_parameters', False)
    )
    cfg.model_wrapper_cfg = dict(type='MMDistributedDataParallel', **{**wrapper, 'device_ids': None})


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


def _first_slurm_host() -> str:
    command = ['scontrol', 'show', 'hostname', os.environ['SLURM_NODELIST']]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]


def autocast(enabled: bool) -> torch.autocast:
    """bfloat16 autocast on whatever device there is; it needs no gradient scaler."""
    return torch.autocast(get_device().split(':')[0], dtype=torch.bfloat16, enabled=enabled)
