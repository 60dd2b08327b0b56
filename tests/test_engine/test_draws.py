"""Indices that know their place, through samplers, wrappers of data sets and workers."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from mmengine.dataset import (
    ClassBalancedDataset,
    ConcatDataset,
    DefaultSampler,
    InfiniteSampler,
    RepeatDataset,
    pseudo_collate,
)
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler, Subset

from cmmasksd.engine.draws import PlacedIndex, PlacedItems, PlacingSampler, place_indices
from tests.test_engine.toy_run import SENTENCES, ManySentences

SEED = 7


def make_loader(dataset: Dataset, sampler: Sampler | None = None, **options: Any) -> DataLoader:
    sampler = sampler or DefaultSampler(dataset, shuffle=False, seed=0)
    loader = DataLoader(dataset, batch_size=2, sampler=sampler, collate_fn=pseudo_collate, **options)
    place_indices(loader)
    dataset.__getitems__ = PlacedItems(dataset, SEED)
    return loader


def expected(epoch: int, index: int) -> str:
    """What an item draws: the same as before there were wrappers, where there is none."""
    return f'sentence {np.random.default_rng((SEED, epoch, index)).integers(SENTENCES)}'


def hear(loader: DataLoader) -> list[str]:
    return [text for batch in loader for text in batch['texts']]


def test_a_placed_index_is_an_index_and_survives_pickling() -> None:
    index = pickle.loads(pickle.dumps(PlacedIndex(5, epoch=3)))
    assert (index, index.epoch, [10, 11, 12, 13, 14, 15][index]) == (5, 3, 15)


def test_passes_are_counted_and_can_be_set_and_shortened() -> None:
    sampler = PlacingSampler(DefaultSampler(range(3), shuffle=False, seed=0))
    assert [[(int(index), index.epoch) for index in sampler] for _ in range(2)] == [
        [(0, 0), (1, 0), (2, 0)],
        [(0, 1), (1, 1), (2, 1)],
    ]
    sampler.epoch, sampler.skip_once = 8, 2
    assert [(int(index), index.epoch) for index in sampler] == [(2, 8)]
    assert [(int(index), index.epoch) for index in sampler] == [(0, 9), (1, 9), (2, 9)]
    sampler.set_epoch(4)  # mmengine's way to shuffle anew
    assert sampler.sampler.epoch == 4 and len(sampler) == 3


def test_an_endless_stream_counts_its_passes_over_all_processes() -> None:
    dealt: list[list[tuple[int, int]]] = []
    for rank in range(3):
        sampler = InfiniteSampler(range(4), shuffle=True, seed=0)
        sampler.rank, sampler.world_size = rank, 3
        next(iter(sampler))  # as a worker that asked before
        make_loader(Counting(4), sampler)
        stream = iter(sampler)
        dealt.append([(int(index), index.epoch) for index in (next(stream) for _ in range(8))])
    together = [pair for turn in zip(*dealt) for pair in turn]
    for epoch in range(6):
        assert sorted(together[4 * epoch : 4 * epoch + 4]) == [(index, epoch) for index in range(4)]


@pytest.mark.skipif(not hasattr(InfiniteSampler, 'skip'), reason='official mmengine goes through the data again')
def test_a_stream_that_is_skipped_ahead_keeps_count() -> None:
    sampler = InfiniteSampler(range(4), shuffle=True, seed=0)
    make_loader(Counting(4), sampler)
    stream = iter(sampler)
    whole = [(int(index), index.epoch) for index in (next(stream) for _ in range(12))]
    sampler.skip(6)
    stream = iter(sampler)
    assert [(int(index), index.epoch) for index in (next(stream) for _ in range(6))] == whole[6:]


class Counting(Dataset):
    """Not one of ours: it draws nothing."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> int:
        return index


def test_other_data_sets_are_read_as_ever() -> None:
    assert list(make_loader(Counting(3))) == [[0, 1], [2]]


@pytest.mark.parametrize(
    'options',
    [
        {},
        dict(num_workers=2),
        dict(num_workers=2, persistent_workers=True),
        dict(num_workers=1, multiprocessing_context='spawn'),
    ],
    ids=['no workers', 'two', 'two that persist', 'spawned'],
)
def test_draws_follow_pass_and_index_whatever_the_workers(options: dict[str, Any]) -> None:
    loader = make_loader(ManySentences(), **options)
    for epoch in range(3):
        assert hear(loader) == [expected(epoch, index) for index in range(6)]


@pytest.mark.parametrize(
    'wrap',
    [
        pytest.param(lambda one: RepeatDataset(one, times=4), id='RepeatDataset'),
        pytest.param(lambda one: ClassBalancedDataset(one, oversample_thr=1.0), id='ClassBalancedDataset'),
        pytest.param(lambda one: ConcatDataset([one, ManySentences(first=6)]), id='ConcatDataset'),
        pytest.param(lambda one: Subset(one, [3, 3, 3]), id='Subset'),
    ],
)
@pytest.mark.parametrize('workers', [0, 2])
def test_a_sample_that_is_given_several_times_draws_anew_each_time(wrap: Any, workers: int) -> None:
    wrapped = wrap(ManySentences())
    heard = hear(make_loader(wrapped, num_workers=workers))
    assert heard == [expected(0, index) for index in range(len(wrapped))]
    assert len(set(heard)) > 0.6 * len(wrapped)


def test_by_hand_a_data_set_draws_by_its_own_epoch_and_index() -> None:
    """Before, within and after a training that has places."""
    dataset = ManySentences()
    dataset.set_epoch(2, SEED)
    loader = make_loader(RepeatDataset(dataset, times=2))
    for _ in range(2):
        assert dataset[4]['texts'] == expected(2, 4)
        assert loader.dataset.__getitems__([10])[0]['texts'] == expected(2, 4)
        assert hear(loader)


def test_an_item_that_fails_leaves_no_place_behind() -> None:
    dataset = ManySentences()
    items = make_loader(dataset).dataset.__getitems__
    with pytest.raises(IndexError):
        items([PlacedIndex(99, epoch=5)])
    assert dataset[1]['texts'] == f'sentence {np.random.default_rng((0, 0, 1)).integers(SENTENCES)}'


def test_a_custom_batch_sampler_keeps_its_sampler_or_is_refused() -> None:
    class Twos(BatchSampler):
        def __init__(self, sampler: Sampler, hidden: bool) -> None:
            self.of_mine = sampler
            self.hidden = hidden
            if not hidden:
                self.sampler = sampler

        def __iter__(self) -> Iterator[list[int]]:
            yield from ([index, index] for index in (self.of_mine if self.hidden else self.sampler))

        def __len__(self) -> int:
            return 6

    dataset = ManySentences()
    sampler = DefaultSampler(dataset, shuffle=False, seed=0)
    loader = DataLoader(dataset, batch_sampler=Twos(sampler, hidden=False), collate_fn=pseudo_collate)
    place_indices(loader)
    dataset.__getitems__ = PlacedItems(dataset, SEED)
    assert hear(loader)[:4] == [expected(0, 0)] * 2 + [expected(0, 1)] * 2
    with pytest.raises(ValueError, match='batch_sampler .Twos. has no attribute `sampler`: keep the sampler'):
        place_indices(DataLoader(dataset, batch_sampler=Twos(sampler, hidden=True)))
