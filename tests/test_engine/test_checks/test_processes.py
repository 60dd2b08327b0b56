"""What mmengine offers to many processes and a referring segmentor does not bear."""

from __future__ import annotations

from typing import Any

import pytest
from mmengine.config import Config
from mmengine.model import MMFullyShardedDataParallel

from cmmasksd.engine.checks import ConfigError, check_config
from tests.shipped_configs import ROOT

FSDP = ROOT / 'cm_masksd/recipes/vit-l_refcoco_fsdp.py'


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(strategy=dict(type='DeepSpeedStrategy')), r"strategy='DeepSpeedStrategy' .* write model_wrapper_cfg="),
        (dict(strategy=dict(type='ColossalAIStrategy')), "strategy='ColossalAIStrategy' .* by verbs"),
        (dict(strategy=dict(type='FSDPStrategy')), "strategy='FSDPStrategy' .* neither whole nor checked"),
        (dict(runner_type='FlexibleRunner'), "runner_type='FlexibleRunner': these tools run mmengine's Runner"),
        (dict(model_wrapper_cfg=dict(type='MMFullyShardedDataParallel')), "the first process's shares"),
        (dict(model_wrapper_cfg=dict(type=MMFullyShardedDataParallel)), "the first process's shares"),
        (dict(model_wrapper_cfg=dict(type='mmengine.MMFullyShardedDataParallel')), 'FullyShardedModel'),
        (dict(model_wrapper_cfg=dict(type='MMSeparateDistributedDataParallel')), 'by verbs'),
        (dict(model_wrapper_cfg=dict(type='DataParallel')), 'dist_train.sh'),
        (dict(custom_hooks=[dict(type='EMAHook')]), 'EMAHook does not go with FullyShardedModel'),
        (dict(default_hooks=dict(ema=dict(type='EMAHook'))), 'EMAHook does not go with FullyShardedModel'),
        (dict(custom_hooks=[dict(type='cmmasksd.CompileHook')]), 'CompileHook does not go with'),
        (dict(optim_wrapper=dict(type='AmpOptimWrapper')), '--amp needs none'),
        (dict(optim_wrapper=dict(accumulative_counts=4)), 'accumulative_counts=4 does not go with'),
        (dict(optim_wrapper=dict(constructor='DefaultOptimWrapperConstructor')), 'ReferringOptimWrapperConstructor'),
        (dict(default_hooks=dict(checkpoint=dict(type='CheckpointHook'))), 'AtomicCheckpointHook'),
        (dict(compile=True), 'compile is not tried with FullyShardedModel'),
    ],
)
def test_it_is_refused_with_the_reason(options: dict[str, Any], message: str) -> None:
    cfg = Config.fromfile(FSDP)
    cfg.merge_from_dict(options)
    with pytest.raises(ConfigError, match=message):
        check_config(cfg)


@pytest.mark.parametrize('wrapper', [None, dict(type='MMDistributedDataParallel'), dict(static_graph=True)])
def test_ddp_goes_with_all_of_it(wrapper: dict[str, Any] | None) -> None:
    cfg = Config.fromfile(FSDP)
    cfg.model_wrapper_cfg = wrapper
    cfg.merge_from_dict(dict(custom_hooks=[dict(type='EMAHook')], optim_wrapper=dict(accumulative_counts=4)))
    check_config(cfg)


def test_the_recipe_goes() -> None:
    check_config(Config.fromfile(FSDP))
