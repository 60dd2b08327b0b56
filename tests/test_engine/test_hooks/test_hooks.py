"""The hooks, on stand-ins for the Runner; their effect on real runs is in tests/test_tools."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from mmengine.dataset import BaseDataset, RepeatDataset
from torch import nn
from torch.utils.data import ConcatDataset, Dataset

from cmmasksd.checkpoints import CheckpointError
from cmmasksd.engine import CheckpointFirstHook, EpochSeedHook, StrictLoadHook
from cmmasksd.engine.leaves import leaf_datasets


class Counted(BaseDataset):
    dataset = 'its name, as RefCOCODataset has one'

    def __init__(self) -> None:
        self.epochs: list[tuple[int, int]] = []
        super().__init__()

    def set_epoch(self, epoch: int, seed: int) -> None:
        self.epochs.append((epoch, seed))

    def load_data_list(self) -> list[dict]:
        return [{}, {}, {}]


class Loader(list):
    """A data loader of three batches."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(range(3))
        self.dataset = dataset


def make_runner(dataset: Dataset, iteration: int = 0, rank: int = 0) -> SimpleNamespace:
    return SimpleNamespace(train_dataloader=Loader(dataset), iter=iteration, seed=7, rank=rank)


def test_wrappers_are_looked_through() -> None:
    one, two = Counted(), Counted()
    wrapped = ConcatDataset([RepeatDataset(one, times=2), two])
    assert list(leaf_datasets(wrapped)) == [one, two]


def test_data_learn_the_epoch_before_their_first_batch() -> None:
    dataset = Counted()
    hook = EpochSeedHook()
    hook.before_train_epoch(make_runner(dataset, iteration=6))
    assert dataset.epochs == [(2, 7)]


def draw(iteration: int, rank: int = 0) -> torch.Tensor:
    torch.rand(iteration + 1)  # whatever was drawn before
    EpochSeedHook().before_train_iter(make_runner(Counted(), iteration, rank), batch_idx=0)
    return torch.rand(4)


def test_masks_depend_on_seed_rank_and_epoch_alone() -> None:
    assert torch.equal(draw(3), draw(3))
    assert not torch.equal(draw(3), draw(6))
    assert not torch.equal(draw(3), draw(3, rank=1))


def test_the_generator_runs_on_within_an_epoch() -> None:
    torch.manual_seed(1)
    expected = torch.rand(4)
    torch.manual_seed(1)
    EpochSeedHook().before_train_iter(make_runner(Counted(), iteration=4), batch_idx=1)
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize(
    ('load_from', 'resume', 'kept'),
    [(None, False, True), (None, True, True), ('x.pth', False, False), ('x.pth', True, False)],
)
def test_clip_is_not_read_where_a_checkpoint_will_be(load_from: str | None, resume: bool, kept: bool, tmp_path) -> None:
    model = nn.Sequential(nn.Linear(1, 1))
    model[0].pretrained = 'openai'
    CheckpointFirstHook().before_run(
        SimpleNamespace(_load_from=load_from, _resume=resume, work_dir=str(tmp_path), model=model)
    )
    assert (model[0].pretrained == 'openai') is kept


def test_evaluation_refuses_weights_of_another_model() -> None:
    runner = SimpleNamespace(_train_loop={}, _resume=False, model=nn.Linear(2, 3))
    StrictLoadHook().after_load_checkpoint(runner, {'state_dict': nn.Linear(2, 3).state_dict()})
    with pytest.raises(CheckpointError, match='1 of another shape, such as weight'):
        StrictLoadHook().after_load_checkpoint(runner, {'state_dict': nn.Linear(4, 3).state_dict()})
    with pytest.raises(CheckpointError, match='1 missing, such as bias'):
        StrictLoadHook().after_load_checkpoint(runner, {'state_dict': nn.Linear(2, 3, bias=False).state_dict()})
