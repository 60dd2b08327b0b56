"""A resumed run follows its config: at each place it has the rate of a run that had this config from its start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from cmmasksd.checkpoints import load_checkpoint_file
from cmmasksd.engine.checks import ConfigError
from cmmasksd.engine.resuming import LENGTH, LOOP
from tests.test_engine.runs import by_iterations, train


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work dir of four epochs of six steps."""
    work_dir = tmp_path_factory.mktemp('trained')
    train(work_dir)
    return work_dir


def resume(trained: Path, folder: Path, epoch: int = 2, checked: bool = True, **options: Any) -> Any:
    return train(folder, checked, resume=True, load_from=str(trained / f'epoch_{epoch}.pth'), **options)


def log_of(folder: Path) -> str:
    return max(folder.glob('*/*.log')).read_text()


CHANGES = {
    'nothing': {},
    'a longer run': dict(train_cfg__max_epochs=7),
    'a shorter run': dict(train_cfg__max_epochs=3),
    'a smaller batch': dict(train_dataloader__batch_size=1),
    'a larger batch': dict(train_dataloader__batch_size=5),
    'a longer run of larger batches': dict(train_cfg__max_epochs=6, train_dataloader__batch_size=4),
    'another rate': dict(optim_wrapper__optimizer__lr=0.3),
    'accumulation and scaling': dict(
        optim_wrapper__accumulative_counts=3, auto_scale_lr=dict(enable=True, base_batch_size=2)
    ),
    'another schedule': dict(
        param_scheduler=[dict(type='MultiStepLR', milestones=[1, 3], gamma=0.1), dict(type='ConstantLR', end=2)]
    ),
    'schedules by epoch and iteration': dict(
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, end=10, by_epoch=False),
            dict(type='ExponentialLR', gamma=0.7),
        ]
    ),
}


@pytest.mark.parametrize('change', CHANGES)
def test_rates_are_those_of_a_run_that_had_the_config_from_its_start(
    change: str, trained: Path, tmp_path: Path
) -> None:
    _, whole = train(tmp_path / 'whole', **CHANGES[change])
    _, resumed = resume(trained, tmp_path / 'resumed', **CHANGES[change])
    length = len(resumed.places) and sum(epoch == 2 for epoch, _ in whole.places)
    assert resumed.places == whole.places[2 * length :] and len(resumed.places) >= 2
    assert resumed.groups == whole.groups[2 * length :]
    assert resumed.logged == whole.logged[2 * length :]
    assert resumed.rates[-1] < resumed.rates[0] or 'schedule' in change


def test_the_rate_never_rises_again(trained: Path, tmp_path: Path) -> None:
    _, recorder = resume(trained, tmp_path, train_dataloader__batch_size=1, train_cfg__max_epochs=9)
    assert recorder.rates == sorted(recorder.rates, reverse=True) and 0 < recorder.rates[-1] < 1e-4


def test_an_unchanged_resume_ends_as_the_uninterrupted_run_and_says_nothing(trained: Path, tmp_path: Path) -> None:
    resume(trained, tmp_path)
    ours, theirs = (load_checkpoint_file(folder / 'epoch_4.pth') for folder in (tmp_path, trained))
    assert ours['param_schedulers'] == theirs['param_schedulers']
    assert ours['optimizer']['param_groups'] == theirs['optimizer']['param_groups']
    assert ours['optimizer']['base_param_settings']['lr'] == theirs['optimizer']['base_param_settings']['lr']
    assert all(torch.equal(ours['state_dict'][name], value) for name, value in theirs['state_dict'].items())
    assert 'replace' not in log_of(tmp_path) and 'counted' not in log_of(tmp_path)


def test_the_optimisers_settings_and_the_seed_are_the_configs(trained: Path, tmp_path: Path) -> None:
    options = dict(weight_decay=0.3, betas=(0.5, 0.6), eps=1e-3)
    changes: dict[str, Any] = {f'optim_wrapper__optimizer__{name}': value for name, value in options.items()}
    runner, _ = resume(trained, tmp_path, randomness__seed=5, **changes)
    for group in runner.optim_wrapper.optimizer.param_groups:
        assert {name: group[name] for name in options} == options
    assert runner.seed == 5
    assert 'weight_decay 0.01 -> 0.3' in log_of(tmp_path) and 'randomness.seed=5 holds' in log_of(tmp_path)


def test_adamw_does_not_go_on_as_adam(trained: Path, tmp_path: Path) -> None:
    """torch tells them apart by a setting of the groups, which the checkpoint's would replace."""
    runner, _ = resume(trained, tmp_path, optim_wrapper__optimizer__type='AdamW')
    fresh = torch.optim.AdamW([torch.zeros(1, requires_grad=True)])
    ours = runner.optim_wrapper.optimizer.param_groups[0]
    assert ours.get('decoupled_weight_decay') == fresh.param_groups[0].get('decoupled_weight_decay')


REFUSED = {
    'beyond the end': (dict(train_cfg__max_epochs=3), 'stands at epoch 4, but the run ends at 3: raise train_cfg.max'),
    'another freeze': (
        dict(optim_wrapper__paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0)))),
        r'groups of \[4, 4\] parameters, the config.s of \[2, 4\].*paramwise_cfg',
    ),
    'another optimiser': (dict(optim_wrapper__optimizer__amsgrad=True), 'Adam needs max_exp_avg_sq: resume with the'),
    'other loops': (
        dict(param_scheduler=[], **by_iterations(50)),
        'is of a run by EpochBasedTrainLoop, but train_cfg.type is IterBasedTrainLoop',
    ),
}


@pytest.mark.parametrize('what', REFUSED)
def test_what_cannot_go_on_is_refused(what: str, trained: Path, tmp_path: Path) -> None:
    options, message = REFUSED[what]
    with pytest.raises(ConfigError, match=message):
        resume(trained, tmp_path, epoch=4, **options)


def test_groups_in_another_order_are_refused(trained: Path, tmp_path: Path) -> None:
    """As many parameters in as many groups, but not the same ones."""
    checkpoint = torch.load(trained / 'epoch_2.pth', weights_only=False)
    state = checkpoint['optimizer']['state']
    state[0], state[7] = state[7], state[0]
    torch.save(checkpoint, tmp_path / 'epoch_2.pth')
    with pytest.raises(ConfigError, match='another order'):
        resume(tmp_path, tmp_path / 'run')


def test_a_finished_run_says_how_to_train_on(trained: Path, tmp_path: Path) -> None:
    _, recorder = resume(trained, tmp_path, epoch=4)
    assert not recorder.places and 'at the end of the run, epoch 4: to train on, raise train_cfg.max_epochs' in log_of(
        tmp_path
    )


def test_a_place_within_an_epoch_keeps_its_share_of_it(tmp_path: Path) -> None:
    """Saved after 8 of 6 + 6 iterations, a third of the second epoch; batches of one make that 16 of 24."""
    by_iteration = dict(default_hooks__checkpoint=dict(type='CheckpointHook', interval=8, by_epoch=False))
    hooks: list[dict[str, Any]] = [dict(type=name) for name in ('EpochSeedHook', 'ResumeHook', 'RunCheckHook')]
    schedule = CHANGES['schedules by epoch and iteration']
    train(tmp_path / 'saved', custom_hooks=hooks, **by_iteration)
    for batch_size, place in ((1, 16), (2, 8), (3, 5)):
        options = dict(load_from=str(tmp_path / 'saved' / 'iter_8.pth'), resume=True, custom_hooks=hooks)
        sizes = dict(train_dataloader__batch_size=batch_size, **schedule)
        _, recorder = train(tmp_path / str(batch_size), **options, **sizes)
        assert recorder.places[0] == (1, place) and recorder.places[-1] == (3, 48 // batch_size - 1)
        _, whole = train(tmp_path / f'whole {batch_size}', **sizes)
        assert recorder.groups == whole.groups[place:]


def test_checkpoints_say_how_their_run_counts(trained: Path) -> None:
    meta = load_checkpoint_file(trained / 'epoch_2.pth')['meta']
    assert (meta[LOOP], meta[LENGTH]) == ('EpochBasedTrainLoop', 6)


def test_a_checkpoint_that_does_not_say_it_is_resumed_all_the_same(trained: Path, tmp_path: Path) -> None:
    checkpoint = torch.load(trained / 'epoch_2.pth', weights_only=False)
    del checkpoint['meta'][LOOP], checkpoint['meta'][LENGTH]
    torch.save(checkpoint, tmp_path / 'epoch_2.pth')
    _, recorder = resume(tmp_path, tmp_path / 'run', train_dataloader__batch_size=1)
    assert recorder.places[0] == (2, 24)
