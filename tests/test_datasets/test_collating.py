"""A batch out of a worker process is pseudo_collate's batch, in one block of shared memory, or of pinned memory."""

from __future__ import annotations

import pickle
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import FUNCTIONS as ROOT_FUNCTIONS
from mmengine.structures import InstanceData
from mmseg.structures import SegDataSample
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data._utils.pin_memory import pin_memory

from cmmasksd.datasets import collate_in_one_block
from cmmasksd.datasets.collating import Parcel
from cmmasksd.structures import Letterbox

TENSORS = [
    torch.rand(3, 5, 7),
    torch.arange(12, dtype=torch.int64).reshape(3, 4),
    torch.rand(2, 3, 5) > 0.5,
    torch.randint(0, 255, (3, 9, 11), dtype=torch.uint8),
    torch.rand(7).to(torch.bfloat16),
    torch.tensor(3.5),
    torch.empty(0, 4),
    torch.rand(4, 6).T,
    torch.rand(6, 4)[::2],
]


class Samples(torch.utils.data.Dataset):
    """Items as our pipelines give them; one of them cannot be loaded."""

    def __init__(self, length: int = 6, broken: int | None = None) -> None:
        self.length, self.broken = length, broken

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict:
        if index == self.broken:
            raise ValueError(f'sample {index} is broken')
        random = np.random.default_rng(index)
        count = 1 + index % 3
        sample = SegDataSample(metainfo=dict(letterbox=Letterbox.fit((40, 30), (8, 12)), img_path=f'{index}.jpg'))
        masks = torch.from_numpy(random.random((count, 8, 12)) > 0.5)
        ids = torch.from_numpy(random.integers(0, 9, (count, 5)))
        sample.expressions = InstanceData(
            texts=[f'thing {place}' for place in range(count)], input_ids=ids, masks=masks
        )
        return dict(inputs=torch.from_numpy(random.integers(0, 255, (3, 8, 12), dtype=np.uint8)), data_samples=sample)


def assert_equal_batches(one: dict, other: dict) -> int:
    """The number of tensors compared."""
    assert isinstance(one, dict) and list(one) == list(other) == ['inputs', 'data_samples']
    assert all(torch.equal(*pair) for pair in zip(one['inputs'], other['inputs'], strict=True))
    for left, right in zip(one['data_samples'], other['data_samples'], strict=True):
        assert type(left) is SegDataSample and left.metainfo == right.metainfo
        assert left.expressions.texts == right.expressions.texts
        for key in ('input_ids', 'masks'):
            assert left.expressions[key].dtype == right.expressions[key].dtype and torch.equal(
                left.expressions[key], right.expressions[key]
            )
    return 3 * len(one['inputs'])


def blocks(batch: dict) -> int:
    """In how many blocks of memory the batch lies."""
    masks = [sample.expressions.masks for sample in batch['data_samples']]
    return len({tensor.untyped_storage()._cdata for tensor in (*batch['inputs'], *masks)})


@pytest.mark.parametrize('tensor', TENSORS, ids=lambda tensor: f'{tensor.dtype} {tuple(tensor.shape)}')
def test_every_tensor_survives(tensor):
    again, after = pickle.loads(ForkingPickler.dumps(Parcel([tensor, torch.arange(3)])))
    assert again.dtype == tensor.dtype and again.shape == tensor.shape and torch.equal(again, tensor)
    assert torch.equal(after, torch.arange(3))


def test_all_tensors_lie_in_one_shared_block():
    again = pickle.loads(ForkingPickler.dumps(Parcel(TENSORS)))
    assert len({tensor.untyped_storage()._cdata for tensor in again}) == 1 < len(again)
    assert all(tensor.is_shared() for tensor in again)
    again[0].zero_()  # views do not overlap, and may be written to
    assert all(torch.equal(*pair) for pair in zip(again[1:], TENSORS[1:], strict=True))


@pytest.mark.parametrize(
    'odd', [torch.nn.Parameter(torch.rand(3)), torch.eye(3).to_sparse(), torch.rand(3, requires_grad=True)]
)
def test_tensors_that_are_no_plain_data_travel_too(odd):
    (again,) = pickle.loads(ForkingPickler.dumps(Parcel([odd])))
    assert type(again) is type(odd) and again.requires_grad == odd.requires_grad
    assert torch.equal(again.to_dense(), odd.to_dense())


def test_workers_give_the_batches_of_pseudo_collate():
    collate = ROOT_FUNCTIONS.get('cmmasksd.collate_in_one_block')
    batches = [
        list(DataLoader(Samples(), 2, collate_fn=function, num_workers=workers))
        for function, workers in ((collate, 2), (collate, 0), (pseudo_collate, 0))
    ]
    assert len(batches[0]) == 3
    compared = sum(
        assert_equal_batches(one, other)
        for loaded in batches[:2]
        for one, other in zip(loaded, batches[2], strict=True)
    )
    assert compared == 2 * 18
    assert blocks(batches[0][0]) == 1 < blocks(batches[1][0])


def test_an_error_in_a_worker_reaches_the_main_process():
    with pytest.raises(ValueError, match='sample 3 is broken'):
        list(DataLoader(Samples(broken=3), 2, collate_fn=collate_in_one_block, num_workers=1))


@pytest.mark.parametrize('workers', [0, 1])
def test_a_pinned_batch_is_one_block_with_all_that_samples_hold(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch itself would pin the pictures, one by one, and leave out what lies in the samples."""
    asked: list[bool] = []
    empty = torch.empty

    def without_accelerator(*args: Any, pin_memory: bool = False, **options: Any) -> Tensor:
        asked.append(pin_memory)
        return empty(*args, **options)

    (batch,) = DataLoader(Samples(3), batch_size=3, num_workers=workers, collate_fn=collate_in_one_block)
    monkeypatch.setattr(torch, 'empty', without_accelerator)
    pinned = pin_memory(batch)
    assert asked == [True]
    assert assert_equal_batches(pinned, batch) == 9 and blocks(pinned) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason='only memory that a GPU reads is pinned')
@pytest.mark.parametrize('workers', [0, 1])
def test_all_tensors_of_a_batch_are_pinned(workers: int) -> None:
    options = dict(batch_size=3, num_workers=workers, collate_fn=collate_in_one_block, pin_memory=True)
    (batch,) = DataLoader(Samples(3), **options)
    samples = batch['data_samples']
    assert all(tensor.is_pinned() for tensor in batch['inputs'])
    assert all(each.expressions[key].is_pinned() for each in samples for key in ('masks', 'input_ids'))
