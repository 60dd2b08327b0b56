"""Ways to share a training out among processes that would not train this model, or would not save it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from cmmasksd.engine.checks.settings import ConfigError

SHARDED = "model_wrapper_cfg=dict(type='cmmasksd.FullyShardedModel')"
BY_VERBS = 'the parts of the model are called by verbs (segmentor.encode_image), not by their forward'
WRAPPERS = dict(
    MMFullyShardedDataParallel=f'it gathers weights in the forward of each part that it wraps, but {BY_VERBS}; and '
    "the Runner would save the first process's shares as if they were the weights",
    FullyShardedDataParallel='it has no train_step, and gathers weights in the forward of each part that it wraps, but '
    f'{BY_VERBS}',
    MMSeparateDistributedDataParallel=f'it wraps each part by itself, but {BY_VERBS}',
    DataParallel='it has no train_step; start a process for each GPU (tools/dist_train.sh)',
    DistributedDataParallel="it has no train_step; mmengine's is MMDistributedDataParallel",
)
UNDER_SHARDING = dict(
    EMAHook='it copies the whole model, which FSDP cannot copy',
    CompileHook='it compiles the verbs around the places where FSDP gathers weights',
    AmpOptimWrapper='its gradient scaler looks at the gradients of one process; --amp needs none',
)


def check_processes(cfg: Config) -> None:
    """Refuses what mmengine offers to many processes and this model does not bear, before anything is built.

    Raises:
        ConfigError: says which setting, why, and what to write in its place.
    """
    if cfg.get('strategy') is not None:
        raise ConfigError(
            f'strategy={_type(cfg.strategy) or cfg.strategy!r} is one of FlexibleRunner, which mmengine calls '
            'experimental and these tools do not run: its checkpoints are neither whole nor checked, and strategies '
            f'wrap parts by their forward, but {BY_VERBS}. Leave strategy out; to share weights out write {SHARDED}.'
        )
    if cfg.get('runner_type', 'Runner') not in ('Runner', 'mmengine.Runner'):
        raise ConfigError(f"runner_type={cfg.runner_type!r}: these tools run mmengine's Runner; leave runner_type out.")
    wrapper = _type(cfg.get('model_wrapper_cfg'))
    if wrapper in WRAPPERS:
        raise ConfigError(
            f'model_wrapper_cfg.type={wrapper} does not go with this model: {WRAPPERS[wrapper]}. Leave '
            f'model_wrapper_cfg out (DDP), or, to share weights out, write {SHARDED}.'
        )
    if wrapper == 'FullyShardedModel':
        _check_sharding(cfg)


def _check_sharding(cfg: Config) -> None:
    optim_wrapper = cfg.get('optim_wrapper') or {}
    settings = [*(cfg.get('default_hooks') or {}).values(), *(cfg.get('custom_hooks') or ()), optim_wrapper]
    for setting in settings:
        if (reason := UNDER_SHARDING.get(_type(setting))) is not None:
            raise ConfigError(
                f'{_type(setting)} does not go with FullyShardedModel (FSDP): {reason}. Leave one of them out.'
            )
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if _type(checkpoint) != 'AtomicCheckpointHook':
        raise ConfigError(
            'FullyShardedModel (FSDP) needs default_hooks.checkpoint.type=AtomicCheckpointHook, for which all '
            'processes gather the weights that one of them writes.'
        )
    if optim_wrapper.get('accumulative_counts', 1) != 1:
        raise ConfigError(
            f'optim_wrapper.accumulative_counts={optim_wrapper["accumulative_counts"]} does not go with '
            'FullyShardedModel (FSDP), whose gradients no checkpoint could hold whole between two steps: set it to 1.'
        )
    for name in ('compile', 'activation_checkpointing', 'efficient_conv_bn_eval', 'sync_bn'):
        if cfg.get(name):
            raise ConfigError(f'{name} is not tried with FullyShardedModel (FSDP): leave one of them out.')
    if optim_wrapper.get('constructor', '').rpartition('.')[2] != 'ReferringOptimWrapperConstructor':
        raise ConfigError(
            'FullyShardedModel (FSDP) needs optim_wrapper.constructor=ReferringOptimWrapperConstructor, which saves '
            "the optimiser's state whole."
        )


def _type(config: Any) -> str:
    """A type's name, without a scope."""
    kind = config.get('type') if isinstance(config, Mapping) else None
    return (kind if isinstance(kind, str) else getattr(kind, '__name__', '')).rpartition('.')[2]
