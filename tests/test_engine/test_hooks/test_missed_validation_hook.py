"""Which resumed runs validate before they go on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from mmengine.runner import IterBasedTrainLoop

from cmmasksd.engine import MissedValidationHook


def resume(
    loop: Any,
    resumed: bool = True,
    validated: int | None = None,
    has_validation: bool = True,
    started: tuple[int, int] = (0, 0),
) -> int:
    """Resumes at the loop's place, in a run whose last epoch started as given; gives how often the validation ran."""
    runs: list[None] = []
    val_loop = SimpleNamespace(run=lambda: runs.append(None)) if has_validation else None
    info = {} if validated is None else dict(last_validated=validated)
    runner = SimpleNamespace(
        _resume=resumed,
        val_loop=val_loop,
        train_loop=loop,
        epoch=loop.epoch,
        iter=loop.iter,
        message_hub=SimpleNamespace(runtime_info={**info, 'epoch_start': started}),
        logger=SimpleNamespace(info=str),
    )
    MissedValidationHook().before_train(runner)
    return len(runs)


def epochs(epoch: int, begin: int = 1, interval: int = 1) -> SimpleNamespace:
    return SimpleNamespace(
        epoch=epoch, max_epochs=5, iter=10 * epoch, max_iters=50, val_begin=begin, val_interval=interval
    )


def iterations(iteration: int) -> IterBasedTrainLoop:
    loop = object.__new__(IterBasedTrainLoop)
    loop._iter, loop._max_iters, loop._epoch, loop._max_epochs, loop.val_begin, loop.val_interval = (
        iteration,
        50,
        0,
        1,
        1,
        20,
    )
    return loop


@pytest.mark.parametrize(
    ('loop', 'expected'),
    [
        pytest.param(epochs(0), 0, id='from scratch'),
        pytest.param(epochs(1), 1, id='after an epoch'),
        pytest.param(epochs(1, begin=2), 0, id='before val_begin'),
        pytest.param(epochs(3, interval=2), 0, id='between two validations'),
        pytest.param(epochs(4, interval=2), 1, id='at the interval'),
        pytest.param(epochs(5, interval=2), 1, id='at the end'),
        pytest.param(iterations(20), 1, id='after so many iterations'),
        pytest.param(iterations(30), 0, id='between two validations of iterations'),
        pytest.param(iterations(50), 1, id='at the last iteration'),
    ],
)
def test_a_due_validation_is_made_up(loop: Any, expected: int) -> None:
    assert resume(loop) == expected


def test_not_twice_nor_in_a_fresh_run_nor_without_validation() -> None:
    assert resume(epochs(2), validated=10) == 1
    assert resume(epochs(2), validated=20) == 0
    assert resume(epochs(2), resumed=False) == 0
    assert resume(epochs(2), has_validation=False) == 0


def test_a_checkpoint_from_within_an_epoch_is_not_validated() -> None:
    loop = epochs(2)
    assert resume(loop, started=(1, 10)) == 1
    loop.iter = 23
    assert resume(loop, validated=20, started=(2, 20)) == 0
