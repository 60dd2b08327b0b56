"""How a checkpoint fits the model that it is to be loaded into, where not all of it has to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

from torch import Tensor, nn

from cmmasksd.checkpoints import CheckpointError
from cmmasksd.checkpoints.state_dicts import POSITIONS, brief, compare, describe_layout

WHOLE = ('meta', 'message_hub', 'optimizer')  # what a resume goes on with, beside the weights


def holds_all(state: Mapping[str, Any], part: nn.Module, prefix: str) -> bool:
    """Whether a state dict of the whole model has every parameter and buffer of one part, each of a shape that fits."""
    own = {f'{prefix}{name}': tensor.shape for name, tensor in part.state_dict().items()}
    return not compare(own, {name: state[name] for name in own.keys() & state.keys()}, POSITIONS)


def check_part(model: nn.Module, state: Mapping[str, Any], source: str) -> None:
    """Makes sure that a training can start from a state dict that may lack weights of the model and have others.

    Raises:
        CheckpointError: not one weight of the model is in it, or one is there of a shape that does not fit.
    """
    own = {name: tensor.shape for name, tensor in model.state_dict().items()}
    common = own.keys() & state.keys()
    if not common:
        layout = describe_layout(state) or f'no weight of this model (its names: {brief(", ".join(list(state)[:3]))})'
        raise CheckpointError(
            f'{source} holds {layout}; here (load_from) the checkpoint of a whole segmentor is wanted, or a part of one'
        )
    unfit = [name for name in sorted(common) if compare({name: own[name]}, {name: state[name]}, POSITIONS)]
    if unfit:
        shape = tuple(state[unfit[0]].shape) if isinstance(state[unfit[0]], Tensor) else type(state[unfit[0]]).__name__
        raise CheckpointError(
            f"{source} holds {len(unfit)} weights of other shapes than the config's model, such as {unfit[0]}: {shape} "
            f'there, {tuple(own[unfit[0]])} here; set the sizes it was trained with, or leave these weights out of it'
        )


def check_resumable(model: nn.Module, checkpoint: Mapping[str, Any], has_schedules: bool, source: str) -> None:
    """Makes sure that a training can go on from a checkpoint: it holds all of the run, and of the model its
    distillation branches too.

    Raises:
        CheckpointError: something is missing, as in a published checkpoint or in the best one.
    """
    wanted = (*WHOLE, 'param_schedulers') if has_schedules else WHOLE
    missing = [entry for entry in wanted if entry not in checkpoint]
    missing += sorted(model.state_dict().keys() - checkpoint.get('state_dict', checkpoint).keys())
    if missing:
        more = f' and {len(missing) - 3} more' if len(missing) > 3 else ''
        raise CheckpointError(
            f'{source} cannot be resumed: it has no {", ".join(missing[:3])}{more}. The best checkpoint and published '
            'ones hold weights alone: resume from the last one (--resume without a path), or begin anew with these '
            'weights (load_from, without resume)'
        )


def fill_up(model: nn.Module, state: MutableMapping[str, Any]) -> str:
    """Makes a state dict hold the model's weights and no others: those that it lacks are the model's as they are.

    Returns:
        What was there, missing and unknown, in one line; numbers are of tensors.
    """
    own = model.state_dict()
    missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    for name in unknown:
        del state[name]
    state.update({name: own[name] for name in missing})
    told = [f'{len(own) - len(missing)} of {len(own)} weights and statistics']
    if missing:
        told.append(f'missing, left as they are: {_by_part(missing)}')
    if unknown:
        told.append(f'unknown, left aside: {_by_part(unknown)}')
    return '; '.join(told)


def _by_part(names: Iterable[str]) -> str:
    return brief(', '.join(f'{part} ({count})' for part, count in Counter(n.split('.')[0] for n in names).items()))
