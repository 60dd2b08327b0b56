"""bfloat16 training on any device, and learning rates for the towers and for what stands on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.model import is_model_wrapper
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import OPTIMIZERS
from torch import nn

from cmmasksd.distributed import autocast
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
    """Two parameter groups: CLIP's towers at the base learning rate, neck, head and branches at ``head_lr_mult`` times
    it.

    ``paramwise_cfg = dict(head_lr_mult=1)``; the paper prints one rate for all, CRIS trains its head at ten times the
    towers' rate.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        model = model.module if is_model_wrapper(model) else model  # type: ignore[assignment]
        config: dict[str, Any] = {**self.optim_wrapper_cfg}
        config.setdefault('type', 'OptimWrapper')
        optimizer: dict[str, Any] = {**self.optimizer_cfg}
        head_lr_mult = (self.paramwise_cfg or {}).get('head_lr_mult', 1.0)
        optimizer['params'] = self.parameter_groups(model, optimizer['lr'], head_lr_mult)
        return OPTIM_WRAPPERS.build(config, default_args=dict(optimizer=OPTIMIZERS.build(optimizer)))

    def parameter_groups(self, model: nn.Module, lr: float, head_lr_mult: float) -> list[dict[str, Any]]:
        """The trainable parameters of towers and head; each group is left out where it is empty."""
        towers: list[nn.Parameter] = []
        head: list[nn.Parameter] = []
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                (towers if name.startswith(('backbone.', 'text_encoder.')) else head).append(parameter)
        return [
            group for group in (dict(params=towers, lr=lr), dict(params=head, lr=lr * head_lr_mult)) if group['params']
        ]
