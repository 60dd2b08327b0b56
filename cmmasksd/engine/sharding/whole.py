"""Whole tensors for whoever stands outside: initialisation and state dicts know nothing of shares.

torch's DTensor is a tensor of which every process holds a part; what is done here, all processes do together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def is_shared_out(tensor: Any) -> bool:
    """Whether this process holds only a part of it."""
    return hasattr(tensor, 'full_tensor')


def local_part(tensor: Any) -> Tensor:
    """The part of a tensor that this process holds: all of it, unless it is shared out."""
    return tensor.to_local() if is_shared_out(tensor) else tensor


def share_out(whole: Tensor, like: Any, source: int | None = None) -> Tensor:
    """Shares a whole tensor out as ``like`` is.

    Args:
        whole: on every process.
        like: a DTensor of the same shape.
        source: the process whose numbers count; None: each takes its part of its own, for they are equal.
    """
    from torch.distributed.tensor import distribute_tensor

    mesh = like.device_mesh
    return distribute_tensor(whole.detach().to(mesh.device_type), mesh, like.placements, src_data_rank=source)


@contextmanager
def whole_parameters(module: nn.Module) -> Iterator[None]:
    """Within the block the module's parameters are whole, plain ones; what is written into them is shared out again
    at its end, where the numbers of the first process count.
    """
    held: dict[tuple[nn.Module, str], Any] = {
        (part, name): parameter
        for part in module.modules()
        for name, parameter in part._parameters.items()
        if is_shared_out(parameter)
    }
    whole = {id(each): _whole_parameter(each) for each in held.values()}
    for (part, name), parameter in held.items():
        part._parameters[name] = whole[id(parameter)]
    try:
        yield
    finally:
        for (part, name), parameter in held.items():
            part._parameters[name] = parameter
    with torch.no_grad():
        for parameter in {id(each): each for each in held.values()}.values():
            local_part(parameter).copy_(local_part(share_out(whole[id(parameter)], parameter, source=0)))


def _whole_parameter(parameter: Any) -> nn.Parameter:
    return nn.Parameter(parameter.full_tensor().detach(), parameter.requires_grad)


def with_whole_parameters(module: nn.Module, method: Callable[..., Any]) -> Callable[..., Any]:
    """A module's method that finds and leaves the parameters as if they were whole."""

    @wraps(method)
    def wrapped(*args: Any, **options: Any) -> Any:
        with whole_parameters(module):
            return method(*args, **options)

    return wrapped


def keep_weights_whole(module: nn.Module) -> None:
    """Lets ``state_dict`` give whole weights, and loading share them out.

    ``state_dict(keep_vars=True)`` gives the parameters as they are, and waits for no other process.
    """
    module.register_state_dict_post_hook(_gather)
    for part in module.modules():
        if any(is_shared_out(parameter) for parameter in part._parameters.values()):
            part.register_load_state_dict_pre_hook(_scatter)


def _gather(module: nn.Module, state: dict[str, Any], prefix: str, metadata: dict[str, Any]) -> None:
    for name, value in state.items():
        if name.startswith(prefix) and is_shared_out(value) and not isinstance(value, nn.Parameter):
            state[name] = value.full_tensor().cpu()  # one at a time on the device


def _scatter(module: nn.Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
    for name, parameter in module._parameters.items():
        value = state.get(f'{prefix}{name}')
        if parameter is None or not is_shared_out(parameter) or not torch.is_tensor(value):
            continue
        if value.shape == parameter.shape and not is_shared_out(value):
            state[f'{prefix}{name}'] = share_out(value, parameter)


def keep_states_whole(optimizer: Optimizer) -> None:
    """The same for an optimiser's state, which lies beside each parameter."""
    optimizer.register_state_dict_post_hook(_gather_states)
    optimizer.register_load_state_dict_pre_hook(_scatter_states)


def _gather_states(optimizer: Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
    whole = {
        place: {name: value.full_tensor().cpu() if is_shared_out(value) else value for name, value in state.items()}
        for place, state in state_dict['state'].items()
    }
    return {**state_dict, 'state': whole}


def _scatter_states(optimizer: Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
    parameters = [parameter for group in optimizer.param_groups for parameter in group['params']]

    def shared(place: int, value: Any) -> Any:
        like = parameters[place]
        fits = torch.is_tensor(value) and value.shape == like.shape and is_shared_out(like)
        return share_out(value, like) if fits and not is_shared_out(value) else value

    states = {
        place: {name: shared(place, value) for name, value in state.items()}
        for place, state in state_dict['state'].items()
    }
    return {**state_dict, 'state': states}
