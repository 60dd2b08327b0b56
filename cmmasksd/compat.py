"""Where versions of mmengine and numpy differ in what a training checkpoint holds and how it is loaded."""

from __future__ import annotations

import pickle
from argparse import Namespace
from collections.abc import Callable
from typing import Any

import numpy as np
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.runner import CheckpointLoader

# before and since numpy 2; checkpoints outlive the numpy that wrote them
_NUMPY_CORES = ('numpy.core.multiarray', 'numpy._core.multiarray')
_NUMBERS = (
    'bool',
    'int8',
    'int16',
    'int32',
    'int64',
    'uint8',
    'uint16',
    'uint32',
    'uint64',
    'float16',
    'float32',
    'float64',
)
_STATISTICS = ('min', 'max', 'current', 'mean')


class _StoredHistoryBuffer(HistoryBuffer):
    """Stands in for HistoryBuffer in a checkpoint; turns into a real one with the stored numbers, and with its own
    statistics, not the file's.

    mmengine's ``__setstate__`` would update the *class's* table of methods by whatever the file names.
    """

    def __setstate__(self, state: dict[str, Any]) -> None:
        kept = {key: state.get(key) for key in ('max_length', '_log_history', '_count_history')}
        if type(kept['max_length']) is not int or any(
            type(kept[key]) is not np.ndarray for key in ('_log_history', '_count_history')
        ):
            raise pickle.UnpicklingError('a HistoryBuffer of the message_hub is malformed')
        self.__class__ = HistoryBuffer
        self.__setstate__(kept)


def _stored_statistic(owner: type, name: str) -> str:
    """Stands in for ``getattr``, by which pickles name HistoryBuffer's methods; bare ``getattr`` would reach into any
    allowed object.
    """
    if owner is not _StoredHistoryBuffer or name not in _STATISTICS:
        raise pickle.UnpicklingError(f'only the statistics of HistoryBuffer may be named, not {str(name)[:80]!r}')
    return name


def _empty_array(subtype: type, shape: tuple[int, ...], typecode: bytes) -> np.ndarray:
    """Stands in for numpy's ``_reconstruct``: the empty array that a pickle then fills; any other shape would allocate
    at the file's wish.
    """
    if subtype is not np.ndarray or shape != (0,) or typecode != b'b':
        raise pickle.UnpicklingError('an array of the checkpoint is malformed')
    return np.empty(0, np.int8)


def checkpoint_globals() -> list[Callable | tuple[Callable, str]]:
    """What a training checkpoint of mmengine names besides torch's own types, for ``torch.serialization.safe_globals``.

    ``message_hub`` holds HistoryBuffers, numpy arrays and numbers. The official mmengine and the fork write the same
    names, numpy's versions differ. Namespaces are settings of a command line, plain data, which LAVT and other projects
    keep beside their weights.

    Returns:
        Pairs of what to use and the name in the file that it stands for.
    """
    scalar = np.float64(0).__reduce__()[0]
    dtypes = {type(np.dtype(name)) for name in _NUMBERS}
    return [
        (_StoredHistoryBuffer, 'mmengine.logging.history_buffer.HistoryBuffer'),
        (_stored_statistic, 'builtins.getattr'),
        (Namespace, 'argparse.Namespace'),
        (np.ndarray, 'numpy.ndarray'),
        (np.dtype, 'numpy.dtype'),
        *((_empty_array, f'{core}._reconstruct') for core in _NUMPY_CORES),
        *((scalar, f'{core}.scalar') for core in _NUMPY_CORES),
        *((dtype, f'{dtype.__module__}.{dtype.__qualname__}') for dtype in dtypes),
    ]


def checkpoint_schemes() -> list[str]:
    """The prefixes of checkpoint names (``s3://`` ...) for which this mmengine has a reader of its own, the empty one
    of local files included.
    """
    return [
        scheme
        for scheme, loader in CheckpointLoader._schemes.items()
        if loader.__module__.partition('.')[0] == 'mmengine'
    ]
