"""The data sets inside wrappers: what is asked of a data set is asked of all that it is made of."""

from __future__ import annotations

from collections.abc import Iterator

from mmengine.dataset import ClassBalancedDataset, RepeatDataset
from torch.utils.data import ConcatDataset, Dataset


def leaf_datasets(dataset: Dataset) -> Iterator[Dataset]:
    """The data sets inside mmengine's wrappers (ConcatDataset, RepeatDataset, ClassBalancedDataset)."""
    if isinstance(dataset, (RepeatDataset, ClassBalancedDataset)):
        yield from leaf_datasets(dataset.dataset)
    elif isinstance(dataset, ConcatDataset):
        for part in dataset.datasets:
            yield from leaf_datasets(part)
    else:
        yield dataset
