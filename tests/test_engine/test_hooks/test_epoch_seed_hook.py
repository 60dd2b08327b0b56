"""Runs draw by their place alone: resumed at any iteration, whatever the loop, the sampler and the workers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.dataset import RepeatDataset
from mmengine.runner import Runner, loops

from cmmasksd.engine import EpochSeedHook
from tests.test_engine.toy_run import SENTENCES, Listener, ManySentences, make_run

BY_EPOCH, BY_ITERATION = dict(by_epoch=True, max_epochs=3), dict(by_epoch=False, max_iters=9, val_interval=99)
ENDLESS = dict(sampler=dict(type='InfiniteSampler', shuffle=True))
WAYS = {
    'epochs': (BY_EPOCH, {}),
    'iterations': (BY_ITERATION, {}),
    'iterations of an endless stream': (BY_ITERATION, ENDLESS),
}


@pytest.fixture(autouse=True)
def no_pause_between_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, 'time', SimpleNamespace(sleep=lambda seconds: None))


def train(work_dir: Path, resume_at: int | None = None, **options: Any) -> Runner:
    if resume_at is not None:
        (work_dir / 'last_checkpoint').write_text(f'iter_{resume_at}.pth')
    runner = make_run(work_dir, resume=resume_at is not None, **options)
    runner.train()
    return runner


def ends_alike(one: Runner, other: Runner) -> bool:
    assert isinstance(one.model, Listener) and isinstance(other.model, Listener)
    return torch.equal(one.model.weight, other.model.weight) and one.iter == other.iter == 9


def test_an_epochs_draws_have_its_number(tmp_path: Path) -> None:
    heard = train(tmp_path).model.heard
    for iteration, batch in enumerate(heard):
        for ref_id, text in batch:  # which is its index too
            drawn = np.random.default_rng((3, iteration // 3, ref_id)).integers(SENTENCES)
            assert text == f'sentence {drawn}'


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize(
    'workers',
    [
        pytest.param({}, id='no workers'),
        pytest.param(dict(num_workers=2), id='two'),
        pytest.param(dict(num_workers=2, persistent_workers=True), id='two that persist', marks=pytest.mark.slow),
    ],
)
def test_a_run_resumed_at_any_iteration_ends_as_an_uninterrupted_one(
    way: str, workers: dict[str, Any], tmp_path: Path
) -> None:
    train_cfg, loader = WAYS[way]
    whole = train(tmp_path / 'alone', train_cfg=train_cfg, loader=loader)
    for iteration in (2, 3, 4, 8) if not workers else (4,):
        resumed = train(tmp_path / 'alone', iteration, train_cfg=train_cfg, loader={**loader, **workers})
        assert resumed.model.heard == whole.model.heard[iteration:], iteration
        assert ends_alike(resumed, whole)
    assert len({text for batch in whole.model.heard for _, text in batch}) > 6


def test_loops_of_epochs_and_iterations_draw_alike(tmp_path: Path) -> None:
    by_epoch = train(tmp_path / 'epochs', train_cfg=BY_EPOCH)
    by_iteration = train(tmp_path / 'iterations', train_cfg=BY_ITERATION)
    assert by_epoch.model.heard == by_iteration.model.heard and ends_alike(by_epoch, by_iteration)


def test_a_seed_that_mmengine_chose_is_resumed_in_the_order_of_the_data_too(tmp_path: Path) -> None:
    chosen = dict(randomness=dict(seed=None))
    whole = train(tmp_path, **chosen)
    assert train(tmp_path, 4, **chosen).model.heard == whole.model.heard[4:]


def test_repetitions_of_a_sample_differ(tmp_path: Path) -> None:
    repeated = RepeatDataset(ManySentences(refs=2), times=5)
    heard = train(tmp_path, dataset=repeated, train_cfg=dict(by_epoch=True, max_epochs=1)).model.heard
    for ref in (0, 1):
        texts = [text for batch in heard for ref_id, text in batch if ref_id == ref]
        assert len(texts) == 5 and len(set(texts)) >= 4


def test_partial_batches_are_counted_as_batches(tmp_path: Path) -> None:
    options = dict(dataset=ManySentences(refs=7), train_cfg=dict(by_epoch=True, max_epochs=2))
    whole = train(tmp_path, **options)
    assert [len(batch) for batch in whole.model.heard] == [2, 2, 2, 1] * 2
    for iteration in (3, 4, 7):
        assert train(tmp_path, iteration, **options).model.heard == whole.model.heard[iteration:]


def test_another_batch_size_begins_the_next_epoch_at_its_start(tmp_path: Path) -> None:
    """The first epoch's three iterations are none of the second one's six."""
    train(tmp_path, checkpoint=dict(by_epoch=True), train_cfg=dict(by_epoch=True, max_epochs=1))
    more = dict(loader=dict(batch_size=1), train_cfg=dict(by_epoch=True, max_epochs=2))
    resumed = make_run(tmp_path, resume=True, checkpoint=dict(by_epoch=True), **more)
    resumed.train()
    assert (resumed.epoch, len(resumed.model.heard)) == (2, 6)


def draw(iteration: int, rank: int = 0) -> torch.Tensor:
    torch.rand(iteration + 1)  # whatever was drawn before
    EpochSeedHook().before_train_iter(SimpleNamespace(seed=7, rank=rank, iter=iteration), batch_idx=0)
    return torch.rand(4)


def test_masks_depend_on_seed_rank_and_iteration_alone() -> None:
    assert torch.equal(draw(3), draw(3))
    assert not torch.equal(draw(3), draw(4))
    assert not torch.equal(draw(3), draw(3, rank=1))
