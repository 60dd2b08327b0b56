"""The weights of a published model into the model: exactly its own, or none."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from cmmasksd.checkpoints import load_weights
from cmmasksd.checkpoints.reading import identify
from cmmasksd.checkpoints.state_dicts import brief, compare
from cmmasksd.published.errors import PublishedError

DTYPES = ('F32', 'I64', 'BOOL')  # weights, and counters and masks among the buffers
DIGEST = 'sha256'  # in the file's metadata: of its tensors
BRANCHES = 'distillation.'  # vanish at inference
FETCH = 'fetch the file again, or publish the model anew'


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, under the names that they have in it.

    Raises:
        PublishedError: it is not there, cut off, or of another kind: a pickle is never read.
    """
    check_safetensors(path)
    try:
        return load_file(path)
    except (SafetensorError, ValueError, RuntimeError, OSError) as error:
        raise PublishedError(f'{path} is cut off or no safetensors file ({brief(error)}); {FETCH}') from error


def check_safetensors(path: Path) -> None:
    """Looks at a file's header: what its tensors are, without reading them.

    Raises:
        PublishedError, CheckpointError: it is not there, cut off, of another kind, or not a published model's.
    """
    if not path.is_file():
        raise PublishedError(f'{path} does not exist: a published model has its weights there; {FETCH}')
    if identify(path) != 'safetensors':
        raise PublishedError(f'{path} is no safetensors file but a pickle, which is not read here; {FETCH}')
    try:
        with safe_open(path, 'pt') as file:
            dtypes = {name: file.get_slice(name).get_dtype() for name in file.keys()}
    except (SafetensorError, ValueError, RuntimeError, OSError) as error:
        raise PublishedError(f'{path} is cut off or no safetensors file ({brief(error)}); {FETCH}') from error
    for name, dtype in sorted(dtypes.items()):
        if dtype not in DTYPES or name.startswith(BRANCHES):
            what = f'is {dtype}, and weights are float32' if dtype not in DTYPES else 'is of training alone'
            raise PublishedError(f'{path}: {name:.80} {what}; {FETCH}')


def check_exactly(model: nn.Module, state: Mapping[str, Any], source: str, mend: str = FETCH) -> None:
    """Makes sure that tensors are those of a model: the same names, shapes and dtypes, no more and no fewer.

    Args:
        model: with weights of its own.
        state: what is to be loaded into it.
        source, mend: for the message: where ``state`` is from, and what to do.

    Raises:
        PublishedError: names the first of each fault.
    """
    own = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(BRANCHES)}
    faults = compare({name: tensor.shape for name, tensor in own.items()}, state)
    odd = sorted(name for name in own.keys() & state.keys() if getattr(state[name], 'dtype', None) != own[name].dtype)
    if odd:
        found = f'{len(odd)} of another dtype, such as {odd[0]} ({state[odd[0]].dtype}, not {own[odd[0]].dtype})'
        faults = f'{faults}; {found}' if faults else found
    if faults:
        raise PublishedError(f"{source} does not hold the model's weights ({faults}); {mend}")


def digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors, with their names, in the order of these."""
    found = hashlib.sha256()
    for name in sorted(state):
        found.update(name.encode())
        found.update(state[name].numpy().tobytes())
    return found.hexdigest()


def load_published(model: nn.Module, weights: str | Path) -> None:
    """Loads the weights of a published model, exactly (:func:`check_exactly`).

    Raises:
        PublishedError, CheckpointError: a file that cannot be read, is of another model, holds what is not finite, or
            other numbers than were published.
    """
    state = read_weights(Path(weights))
    check_exactly(model, state, str(weights))
    load_weights(model, state, str(weights))
    with safe_open(weights, 'pt') as file:
        stated = (file.metadata() or {}).get(DIGEST)
    if stated != digest(state):
        raise PublishedError(f'{weights} holds other numbers than were published (their {DIGEST} differs); {FETCH}')
