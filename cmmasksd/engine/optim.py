"""bfloat16 training on any device, and learning rates for the towers and for what stands on them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mmengine.logging import MMLogger, print_log
from mmengine.model import is_model_wrapper
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import OPTIMIZERS
from torch import nn

from cmmasksd.distributed import autocast
from cmmasksd.engine.checks import ConfigError, check_number, check_whole
from cmmasksd.engine.paramwise import TOWERS, WHERE, check_paramwise, joined_keys, layer_scales, merge, shut_out
from cmmasksd.engine.sharding import FullyShardedModel, keep_states_whole
from cmmasksd.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """Runs the forward pass under bfloat16 autocast, on a CPU as on a GPU (``--amp``).

    bfloat16 has float32's range, so there is no gradient scaler; mmengine's ``AmpOptimWrapper`` has one and refuses a
    CPU.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), autocast(enabled=True):
            yield


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class ReferringOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor with two more settings in ``paramwise_cfg``, and few groups of parameters: by default two,
    the towers' and all others.

    * ``head_lr_mult=1``: multiplies the rate of what stands on CLIP's towers: neck, head, branches. The paper prints
      one rate for all, CRIS trains its head at ten times the towers' rate.
    * ``layer_decay_rate``: layer-wise decay of the towers' rates, see :func:`cmmasksd.engine.paramwise.layer_scales`.
    * mmengine's own: ``custom_keys`` (``lr_mult``, ``decay_mult``), ``norm_decay_mult``, ``bias_decay_mult``,
      ``bias_lr_mult``, ``flat_decay_mult``, ``dwconv_decay_mult``, ``dcn_offset_lr_mult``, ``bypass_duplicate``.

    All multipliers of a rate that apply to a parameter are multiplied. Where they come to 0 it is frozen: no optimiser
    and no schedule knows it, and no gradient is computed for it (under DDP, FrozenPartsHook sees to it). Running
    statistics of batch norms follow the data all the same.

    Raises:
        ConfigError: an unknown or useless key, a number out of range, or nothing left to train.
    """

    paramwise_cfg: dict[str, Any]

    def __call__(self, model: nn.Module) -> OptimWrapper:
        wrapper, model = model, model.module if is_model_wrapper(model) else model  # type: ignore[assignment]
        self._check(model)
        groups = self.parameter_groups(model)
        frozen = [group for group in groups if group['lr'] == 0]
        groups = [group for group in groups if group['lr'] > 0]
        if not groups:
            raise ConfigError(
                f'{WHERE} leaves nothing to train: every learning rate is 0. Give a part another lr_mult.'
            )
        sharded = isinstance(wrapper, FullyShardedModel)
        if wrapper is model or sharded:  # DDP awaits the gradients of all that it was made with
            for parameter in (parameter for group in frozen for parameter in group['params']):
                parameter.requires_grad_(False)
        optimizer = OPTIMIZERS.build({**self.optimizer_cfg, 'params': groups})
        if sharded:
            keep_states_whole(optimizer)
        self._tell(optimizer.param_groups, frozen)
        config: dict[str, Any] = {'type': 'OptimWrapper', **self.optim_wrapper_cfg}
        return OPTIM_WRAPPERS.build(config, default_args=dict(optimizer=optimizer))

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """The trainable parameters in groups of equal settings, the towers' groups first; each has its rate."""
        each: list[dict[str, Any]] = []
        with _without_lines_for_each():
            self.add_params(each, model)
        names = {parameter: name for name, parameter in model.named_parameters()}
        rate, head = (self.paramwise_cfg.get(key) for key in ('layer_decay_rate', 'head_lr_mult'))
        scales = dict.fromkeys(names.values(), 1.0) if rate is None else layer_scales(model, rate)
        groups: dict[nn.Parameter, dict[str, Any]] = {}
        for group in each:
            name = names[group['params'][0]]
            scale = scales[name] if name.startswith(TOWERS) or head is None else head
            own = {key: value for key, value in group.items() if key not in ('lr_mult', 'decay_mult')}
            groups.setdefault(group['params'][0], {**own, 'lr': own.get('lr', self.base_lr) * scale})
        return merge(list(groups.values()), [not names[parameter].startswith(TOWERS) for parameter in groups])

    def _validate_cfg(self) -> None:
        """Joins nested custom keys; what mmengine checks here, and more, is checked when the model is known."""
        custom = self.paramwise_cfg.get('custom_keys') if isinstance(self.paramwise_cfg, Mapping) else None
        if isinstance(custom, Mapping):
            self.paramwise_cfg = {**self.paramwise_cfg, 'custom_keys': joined_keys(custom)}

    def _check(self, model: nn.Module) -> None:
        check_number(self.base_lr, 'optim_wrapper.optimizer.lr', above=0)
        if self.base_wd is not None:
            check_number(self.base_wd, 'optim_wrapper.optimizer.weight_decay', at_least=0)
        check_whole(
            self.optim_wrapper_cfg.get('accumulative_counts', 1), 'optim_wrapper.accumulative_counts', at_least=1
        )
        for name in ('max_norm', 'clip_value'):
            if name in (self.optim_wrapper_cfg.get('clip_grad') or {}):
                check_number(self.optim_wrapper_cfg['clip_grad'][name], f'optim_wrapper.clip_grad.{name}', above=0)
        check_paramwise(self.paramwise_cfg, self.optimizer_cfg, [name for name, _ in model.named_parameters()])

    def _tell(self, groups: list[dict[str, Any]], frozen: list[dict[str, Any]]) -> None:
        """Says in the log what is trained how."""
        for sentence in shut_out(self.paramwise_cfg):
            print_log(sentence, logger='current', level=logging.WARNING)
        lines = [f'lr {group["lr"]:g}, weight decay {group.get("weight_decay", 0)}' for group in groups]
        for line, group in zip([*lines, *['frozen'] * len(frozen)], [*groups, *frozen]):
            print_log(f'{sum(parameter.numel() for parameter in group["params"])} weights: {line}', logger='current')


@contextmanager
def _without_lines_for_each() -> Iterator[None]:
    """mmengine logs three lines for each parameter, a thousand a run; ours are one for each group."""
    logger = MMLogger.get_current_instance()

    def speaks_of_many(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith('paramwise_options -- ')

    logger.addFilter(speaks_of_many)
    try:
        yield
    finally:
        logger.removeFilter(speaks_of_many)
