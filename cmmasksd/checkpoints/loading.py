"""Weights into a model: all of them, or none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from cmmasksd.checkpoints.reading import CheckpointError
from cmmasksd.checkpoints.state_dicts import POSITIONS, brief, compare, describe_layout


def load_weights(model: nn.Module, checkpoint: Mapping[str, Any], source: str) -> None:
    """Loads a checkpoint's ``state_dict`` into a model, strictly; see :func:`check_weights`.

    Raises:
        CheckpointError: it is of another model, or holds weights that are NaN or infinite.
    """
    state = checkpoint.get('state_dict', checkpoint)
    check_weights(model, state, source)
    broken = [name for name in model.state_dict().keys() & state.keys() if not state[name].isfinite().all()]
    if broken:
        raise CheckpointError(
            f'{source} holds {len(broken)} weights that are NaN or infinite, such as {min(broken)}: its training went '
            'wrong; use an earlier checkpoint'
        )
    load_into(model, state, source)


def load_into(model: nn.Module, state: Mapping[str, Any], source: str) -> None:
    """Loads what a state dict has of a model.

    Raises:
        CheckpointError: position embeddings of a grid that cannot be resized.
    """
    try:
        model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise CheckpointError(
            f"{source} does not fit the config's model ({brief(reason)}); use the config it was trained with"
        ) from error


def check_weights(model: nn.Module, state: Mapping[str, Any], source: str) -> None:
    """Makes sure that a state dict is one of this model; mmengine would load what fits and leave the rest random.

    Distillation branches vanish at inference, so their weights may be absent or too many; position embeddings are
    resized at load.

    Raises:
        CheckpointError: no state dict, or missing, unknown or ill-shaped weights; names the first of each.
    """
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise CheckpointError(f"{source} holds no state dict; save the model's state_dict()")
    own = {name: tensor.shape for name, tensor in model.state_dict().items()}
    faults = compare(_without_branches(own), _without_branches(state), resizable=POSITIONS)
    if not faults:
        return
    layout = '' if own.keys() & state.keys() else describe_layout(state)
    if layout:
        raise CheckpointError(f'{source} holds {layout}; here the checkpoint of a training run is wanted')
    raise CheckpointError(
        f"{source} holds the weights of another model than the config's ({faults}); use the config it was trained with"
    )


def _without_branches(named: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in named.items() if not name.startswith('distillation.')}
