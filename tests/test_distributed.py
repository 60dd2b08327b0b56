"""Process groups on CPUs; what they do is in tests/test_tools/test_processes.py."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import pytest
import torch.distributed as dist
from mmengine.config import Config

from cmmasksd import distributed


@pytest.mark.parametrize(
    ('dist_cfg', 'expected'), [(dict(backend='nccl'), None), (dict(backend='nccl', timeout=90), timedelta(seconds=90))]
)
def test_the_timeout_of_the_config_holds_on_cpus(
    dist_cfg: dict[str, Any], expected: timedelta | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[tuple, dict]] = []
    monkeypatch.setattr(dist, 'init_process_group', lambda *args, **options: started.append((args, options)))
    monkeypatch.setattr(distributed, 'get_device', lambda: 'cpu')
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.setenv(name, '0')
    cfg = Config(dict(env_cfg=dict(dist_cfg=dist_cfg)))
    distributed.prepare_launcher(cfg, 'pytorch')
    assert started == [(('gloo',), dict(timeout=expected))]
    assert cfg.model_wrapper_cfg.device_ids is None


def test_a_launcher_that_did_not_start_the_process_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, 'get_device', lambda: 'cpu')
    monkeypatch.delenv('SLURM_PROCID', raising=False)
    with pytest.raises(RuntimeError, match='--launcher slurm needs the environment variable SLURM_PROCID'):
        distributed.prepare_launcher(Config(dict()), 'slurm')


@pytest.mark.parametrize('port', [None, '4711'])
@pytest.mark.parametrize(
    ('launcher', 'variables'),
    [
        ('slurm', dict(SLURM_PROCID='5', SLURM_NTASKS='8', SLURM_LOCALID='1', SLURM_NODELIST='node[3-4]')),
        ('mpi', dict(OMPI_COMM_WORLD_RANK='5', OMPI_COMM_WORLD_SIZE='8', OMPI_COMM_WORLD_LOCAL_RANK='1')),
    ],
)
def test_every_launchers_ranks_reach_torch(
    launcher: str, variables: dict[str, str], port: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dist, 'init_process_group', lambda *args, **options: None)
    monkeypatch.setattr(distributed, 'get_device', lambda: 'cpu')
    monkeypatch.setattr(distributed, '_first_slurm_host', lambda: 'node3')
    monkeypatch.setattr(os, 'environ', {**variables, **({'MASTER_PORT': port} if port else {})})
    distributed.prepare_launcher(Config(dict()), launcher)
    ranks = [os.environ[name] for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK')]
    address = 'node3' if launcher == 'slurm' else '127.0.0.1'
    assert ranks == ['5', '8', '1']
    assert (os.environ['MASTER_ADDR'], os.environ['MASTER_PORT']) == (address, port or '29500')
