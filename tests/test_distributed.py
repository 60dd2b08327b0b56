"""Process groups and what they are told; what they do is in tests/test_tools/test_processes.py and test_nodes.py."""

from __future__ import annotations

import os
import sys
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
    monkeypatch.setattr(sys, 'excepthook', sys.excepthook)
    monkeypatch.setattr(distributed, 'get_device', lambda: 'cpu')
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.setenv(name, '0')
    cfg = Config(dict(env_cfg=dict(dist_cfg=dist_cfg)))
    distributed.prepare_launcher(cfg, 'pytorch')
    assert started == [(('gloo',), dict(timeout=expected))]
    assert cfg.model_wrapper_cfg.device_ids is None


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts no group, and puts back what is hooked."""
    monkeypatch.setattr(dist, 'init_process_group', lambda *args, **options: None)
    monkeypatch.setattr(sys, 'excepthook', sys.excepthook)
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.setenv(name, '0')


@pytest.mark.parametrize(('device', 'named'), [('cpu', dict(device_ids=None)), ('cuda', {})])
@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ({}, dict(broadcast_buffers=False, gradient_as_bucket_view=True, find_unused_parameters=False)),
        (
            dict(find_unused_parameters=True),
            dict(broadcast_buffers=False, gradient_as_bucket_view=True, find_unused_parameters=True),
        ),
        (
            dict(model_wrapper_cfg=dict(type='MMDistributedDataParallel', broadcast_buffers=True, static_graph=True)),
            dict(broadcast_buffers=True, gradient_as_bucket_view=True, find_unused_parameters=False, static_graph=True),
        ),
    ],
)
def test_ddp_is_told_what_fits_this_model_and_what_the_config_says_holds(
    given: dict, expected: dict, device: str, named: dict, quiet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, 'get_device', lambda: device)
    cfg = Config(given)
    distributed.prepare_launcher(cfg, 'pytorch')
    assert cfg.model_wrapper_cfg.to_dict() == dict(type='MMDistributedDataParallel', **expected, **named)


def test_another_wrapper_is_left_as_it_is(quiet: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, 'get_device', lambda: 'cpu')
    cfg = Config(dict(model_wrapper_cfg=dict(type='cmmasksd.FullyShardedModel')))
    distributed.prepare_launcher(cfg, 'pytorch')
    assert cfg.model_wrapper_cfg.to_dict() == dict(type='cmmasksd.FullyShardedModel')


@pytest.mark.parametrize(
    ('error', 'is_lost'),
    [
        (RuntimeError('[../third_party/gloo/gloo/transport/tcp/pair.cc:538] Connection closed by peer'), True),
        (dist.DistBackendError('NCCL communicator was aborted on rank 0.'), True),
        (RuntimeError('mat1 and mat2 shapes cannot be multiplied'), False),
        (ValueError('Connection closed by peer'), False),
    ],
)
def test_the_end_of_another_process_is_said_in_a_sentence(
    error: Exception, is_lost: bool, quiet: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(distributed, 'get_device', lambda: 'cpu')
    distributed.prepare_launcher(Config({}), 'pytorch')
    monkeypatch.setenv('WORLD_SIZE', '4')
    sys.excepthook(type(error), error, None)
    printed = capsys.readouterr().err
    assert ('Process 0 of 4 stops: another process is gone' in printed) == is_lost
    assert str(error) in printed and 'Traceback' not in printed


@pytest.mark.parametrize(('job', 'port'), [('7', '20007'), ('1234567', '24567')])
def test_jobs_of_slurm_meet_at_ports_of_their_own(
    job: str, port: str, quiet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, 'get_device', lambda: 'cuda')
    monkeypatch.setenv('SLURM_JOB_ID', job)
    monkeypatch.delenv('MASTER_PORT')
    distributed.prepare_launcher(Config({}), 'slurm')
    assert os.environ['MASTER_PORT'] == port


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
    monkeypatch.setattr(sys, 'excepthook', sys.excepthook)
    monkeypatch.setattr(distributed, 'get_device', lambda: 'cpu')
    monkeypatch.setattr(distributed, '_first_slurm_host', lambda: 'node3')
    monkeypatch.setattr(os, 'environ', {**variables, **({'MASTER_PORT': port} if port else {})})
    distributed.prepare_launcher(Config(dict()), launcher)
    ranks = [os.environ[name] for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK')]
    address = 'node3' if launcher == 'slurm' else '127.0.0.1'
    assert ranks == ['5', '8', '1']
    assert (os.environ['MASTER_ADDR'], os.environ['MASTER_PORT']) == (address, port or '29500')
