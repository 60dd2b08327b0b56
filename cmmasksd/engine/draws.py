"""Items of a training set that draw as their place in the run says, through any sampler, wrapper and worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.dataset import InfiniteSampler
from torch.utils.data import DataLoader, Dataset, Sampler

from cmmasksd.engine.leaves import leaf_datasets


class PlacedIndex(int):
    """An index that knows in which pass over the data it was sampled; it takes that along to worker processes."""

    epoch: int

    def __new__(cls, index: int, epoch: int) -> PlacedIndex:
        placed = super().__new__(cls, index)
        placed.epoch = epoch
        return placed

    def __getnewargs__(self) -> tuple[int, int]:  # type: ignore[override]
        return int(self), self.epoch


class PlacingSampler(Sampler[int]):
    """A sampler whose indices know their pass; passes are counted by how often it is iterated.

    Args:
        sampler: what it stands for; its other attributes are reached through this one.

    Attributes:
        epoch: number of the next pass.
        skip_once: how many indices of the next pass are left out, since an earlier part of the run has had them.
    """

    def __init__(self, sampler: Sampler[int]) -> None:
        self.sampler = sampler
        self.epoch = 0
        self.skip_once = 0

    def __iter__(self) -> Iterator[int]:
        epoch, skip = self.epoch, self.skip_once
        self.epoch, self.skip_once = epoch + 1, 0
        return (PlacedIndex(index, epoch) for place, index in enumerate(self.sampler) if place >= skip)

    def __len__(self) -> int:
        return len(self.sampler)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        if name == 'sampler':  # not set yet, while it is unpickled
            raise AttributeError(name)
        return getattr(self.sampler, name)


def place_indices(loader: DataLoader) -> Sampler[int]:
    """Makes a data loader's sampler yield :class:`PlacedIndex`.

    The loader's own ``sampler`` stays, whose ``set_epoch`` mmengine calls. An ``InfiniteSampler`` starts anew: in
    official mmengine, workers have asked it for their first batches by now.

    Returns:
        The sampler of before.

    Raises:
        ValueError: a batch sampler that keeps its sampler elsewhere than in ``sampler``.
    """
    batches = loader.batch_sampler
    sampler = getattr(batches, 'sampler', None)
    if batches is None or sampler is None:
        raise ValueError(
            f'train_dataloader.batch_sampler ({type(batches).__name__}) has no attribute `sampler`: keep the sampler '
            'that it is given under that name, so that draws can follow the place in the run.'
        )
    if isinstance(sampler, PlacingSampler):
        return sampler.sampler
    if isinstance(sampler, InfiniteSampler):
        _place_stream(sampler)
    else:
        batches.sampler = PlacingSampler(sampler)  # type: ignore[attr-defined]
    return sampler


def _place_stream(sampler: InfiniteSampler) -> None:
    """An endless stream holds one pass after the other, dealt out to the processes by turns."""
    stream = type(sampler)._indices_of_rank

    def placed() -> Iterator[int]:
        for place, index in enumerate(stream(sampler)):
            yield PlacedIndex(index, (place * sampler.world_size + sampler.rank) // sampler.size)

    sampler._indices_of_rank = placed  # also what the maintained fork's ``skip`` starts from
    sampler.indices = placed()


class PlacedItems:
    """A data set's ``__getitems__``, by which a DataLoader asks for a batch: each item draws as its place says.

    What the data set is made of (see :func:`leaf_datasets`) is told (seed, pass, index) of each item, where ``index``
    is the outermost one: a sample that ``RepeatDataset`` or ``ClassBalancedDataset`` gives several times draws anew
    each time.

    Args:
        dataset: the outermost data set.
        seed: of the run.
    """

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self.dataset = dataset
        self.seed = seed
        self.leaves = [leaf for leaf in leaf_datasets(dataset) if hasattr(leaf, 'draw_as')]

    def __call__(self, indices: Sequence[int]) -> list[Any]:
        return [self._item(index) for index in indices]

    def _item(self, index: int) -> Any:
        key = (self.seed, index.epoch, int(index)) if isinstance(index, PlacedIndex) else None
        try:
            for leaf in self.leaves:
                leaf.draw_as(key)
            return self.dataset[int(index)]
        finally:
            for leaf in self.leaves:
                leaf.draw_as(None)
