"""FSDP for models whose parts are called by verbs: torch's ``fully_shard``, as a model wrapper of mmengine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.distributed as dist
from mmengine.device import get_device
from mmengine.model import BaseModel, BaseModule
from mmengine.optim import OptimWrapper
from torch import nn

from cmmasksd.engine.checks import ConfigError, check_whole
from cmmasksd.engine.sharding.whole import keep_weights_whole, with_whole_parameters
from cmmasksd.registry import MODEL_WRAPPERS


@MODEL_WRAPPERS.register_module()
class FullyShardedModel(nn.Module):
    """Shares weights, gradients and the optimiser's state out among all processes (FSDP2, ``fully_shard``):
    ``model_wrapper_cfg=dict(type='cmmasksd.FullyShardedModel')``.

    Each large layer of a stack (the towers' blocks, the decoder's layers) is a unit, gathered when it runs, forward and
    backward, and dropped after; all else is one more unit, gathered for the whole step. The step is DDP's but for
    rounding. In evaluation every process holds all weights for the length of a batch, for the number of chunks, and so
    of calls, differs from process to process.

    Outside a step nothing shows: weights are initialised whole, by the first process's numbers; checkpoints are whole
    files like any other, written by FSDP, DDP or one process and resumed by any of them.

    mmengine's own ``MMFullyShardedDataParallel`` gathers where a module's ``forward`` is called, which the verbs are
    not, and its Runner would save the first process's shares as if they were the weights.

    Args:
        module: the model.
        min_parameters: layers of a stack with fewer are no unit of their own.

    Raises:
        ConfigError: ``min_parameters`` is no whole number of at least 1, or a parameter that cannot be shared out.
    """

    def __init__(self, module: BaseModel, min_parameters: int = 1_000_000) -> None:
        super().__init__()
        check_whole(min_parameters, 'model_wrapper_cfg.min_parameters', at_least=1)
        scalars = [name for name, parameter in module.named_parameters() if parameter.dim() == 0]
        if scalars:
            raise ConfigError(
                f'model_wrapper_cfg: FSDP cannot share out parameters without a dimension, such as {scalars[0]}: give '
                'them the shape (1,), or leave model_wrapper_cfg out (DDP).'
            )
        self.module = module
        self.units = _shard(module, min_parameters)
        keep_weights_whole(module)
        for part in module.modules():
            if isinstance(part, BaseModule):
                part.init_weights = with_whole_parameters(part, part.init_weights)

    def forward(self, *args: Any, **options: Any) -> Any:
        """The model's."""
        return self.module(*args, **options)

    def train_step(self, data: Any, optim_wrapper: OptimWrapper) -> dict[str, Any]:
        """mmengine's step; gradients are averaged over the processes, with accumulation too."""
        return self.module.train_step(data, optim_wrapper)

    def val_step(self, data: Any) -> list:
        """Predicts with all weights at hand."""
        with self._gathered():
            return self.module.val_step(data)

    def test_step(self, data: Any) -> list:
        """Predicts with all weights at hand."""
        with self._gathered():
            return self.module.test_step(data)

    @contextmanager
    def _gathered(self) -> Iterator[None]:
        units: list[Any] = self.units
        for unit in units:
            unit.set_reshard_after_forward(False, recurse=False)
            unit.unshard()
        try:
            yield
        finally:
            for unit in units:
                unit.set_reshard_after_forward(unit is not units[-1], recurse=False)
                unit.reshard()


def layers_of_stacks(model: nn.Module, min_parameters: int) -> list[nn.Module]:
    """Layers of lists and sequences that hold several of one kind and nothing else, each with at least so many
    parameters; of stacks within stacks the outer one's.
    """
    if (
        isinstance(model, (nn.ModuleList, nn.Sequential))
        and len(model) > 1
        and len({type(layer) for layer in model}) == 1
    ):
        large = [layer for layer in model if sum(each.numel() for each in layer.parameters()) >= min_parameters]
        others = [layer for layer in model if layer not in large]
    else:
        large, others = [], list(model.children())
    return large + [layer for other in others for layer in layers_of_stacks(other, min_parameters)]


def _shard(model: nn.Module, min_parameters: int) -> list[Any]:
    """Makes units of the layers of stacks and of what is left, in place; the last one is the model. The first
    process's numbers count, as under DDP.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(get_device().split(':')[0], (dist.get_world_size(),))
    units = [*layers_of_stacks(model, min_parameters), model]
    for tensor in [*model.parameters(), *model.buffers()]:
        dist.broadcast(tensor.detach(), src=0)
    for unit in units:
        fully_shard(unit, mesh=mesh)
    return units
