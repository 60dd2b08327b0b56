"""The data sets inside wrappers: what is asked of a data set is asked of all that it is made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.dataset import ClassBalancedDataset, RepeatDataset
from torch.utils.data import Dataset

# ConcatDataset; RepeatDataset, ClassBalancedDataset, torch's Subset; what mmengine makes of `num_batch_per_epoch`
_INNER = ('datasets', 'dataset', '_dataset')


def leaf_datasets(dataset: Dataset) -> Iterator[Any]:
    """The data sets inside wrappers (ConcatDataset, RepeatDataset, ClassBalancedDataset, torch's Subset ...), in order.

    A wrapper keeps a data set in ``dataset``, or several in ``datasets``; RefCOCODataset's own ``dataset`` is a name.
    """
    yield from _leaves(dataset, getattr(dataset, '__dict__', {}), (Dataset, RepeatDataset, ClassBalancedDataset))


def leaf_configs(dataset: Mapping[str, Any]) -> Iterator[Any]:
    """The same for a config: the configs inside those of wrappers, in order; they are the config's own, not copies."""
    yield from _leaves(dataset, dataset, (Mapping,))


def _leaves(dataset: Any, fields: Mapping[str, Any], kinds: tuple[type, ...]) -> Iterator[Any]:
    listed = (value if isinstance(value, Sequence) else [value] for value in map(fields.get, _INNER))
    inner = [part for parts in listed for part in parts if isinstance(part, kinds)]
    for part in inner:
        yield from _leaves(part, part if isinstance(part, Mapping) else vars(part), kinds)
    if not inner:
        yield dataset
