"""Process groups on CPUs; what they do is in tests/test_tools/test_processes.py."""

from __future__ import annotations

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
