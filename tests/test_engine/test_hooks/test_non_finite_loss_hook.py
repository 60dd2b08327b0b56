"""A loss that is not a number moves nothing: neither weights, nor the optimiser's state, nor running statistics."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from torch import Tensor, nn, optim

from cmmasksd.engine import AutocastOptimWrapper, NonFiniteLossHook
from cmmasksd.engine.hooks.non_finite_loss_hook import NonFiniteError
from tests.forking import run_ranks
from tests.test_tools.running import CONFIG, ROOT

NAN = float('nan')


def make_runner(model: nn.Module, name: str, **wrapper_options: Any) -> SimpleNamespace:
    wrapper = OptimWrapper(optim.Adam(model.parameters(), lr=0.01, fused=True), **wrapper_options)
    warnings: list[str] = []
    logger = SimpleNamespace(warning=warnings.append)
    hub = MessageHub.get_instance(f'non-finite-{name}')
    return SimpleNamespace(
        model=model, optim_wrapper=wrapper, iter=4, epoch=1, message_hub=hub, logger=logger, warnings=warnings
    )


@pytest.fixture
def batch(make_batch: Callable[..., dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    def make() -> dict[str, Any]:
        made = make_batch((1, 2))
        for number, sample in enumerate(made['data_samples']):
            sample.set_metainfo(dict(img_path=f'/data/picture_{number}.jpg'))
            sample.expressions.ref_ids = torch.full((len(sample.expressions),), 70 + number)
        return made

    return make


def spoil_masks(model: nn.Module, batch: dict[str, Any]) -> None:
    batch['data_samples'][0].expressions.masks[...] = NAN


def spoil_picture(model: nn.Module, batch: dict[str, Any]) -> None:
    batch['inputs'] = [image.float() for image in batch['inputs']]
    batch['inputs'][1][0, 0, 0] = float('inf')


def spoil_branch(name: str) -> Callable[[nn.Module, dict[str, Any]], None]:
    def spoil(model: nn.Module, batch: dict[str, Any]) -> None:
        model.distillation[name].mask_token.data[0] = NAN

    return spoil


SPOILED = {
    'a mask': (spoil_masks, {'loss_seg'}),
    'a picture': (spoil_picture, {'loss_seg', 'loss_lmvsd', 'loss_vmlsd'}),
    'the image branch': (spoil_branch('lmvsd'), {'loss_lmvsd'}),
    'the text branch': (spoil_branch('vmlsd'), {'loss_vmlsd'}),
}


def state_of(runner: SimpleNamespace) -> dict[str, Any]:
    return copy.deepcopy(dict(model=runner.model.state_dict(), optimizer=runner.optim_wrapper.state_dict()))


def assert_same_state(runner: SimpleNamespace, before: dict[str, Any]) -> None:
    torch.testing.assert_close(state_of(runner), before, rtol=0, atol=0, equal_nan=True)
    assert all(weight.grad is None for weight in runner.model.parameters())


@pytest.mark.parametrize('what', SPOILED)
def test_it_stops_and_names_iteration_losses_pictures_and_refs(
    what: str, tiny_model: Callable[..., nn.Module], batch: Callable[[], dict[str, Any]]
) -> None:
    runner = make_runner(tiny_model(), f'stop {what}')
    NonFiniteLossHook().before_train(runner)
    runner.model.train_step(batch(), runner.optim_wrapper)
    spoiled, (spoil, expected) = batch(), SPOILED[what]
    spoil(runner.model, spoiled)
    weights = copy.deepcopy(dict(runner.model.named_parameters()))
    with pytest.raises(
        NonFiniteError, match=r'Iteration 5 \(epoch 2\).*picture_0.jpg \(ref 70\), .*picture_1.jpg \(ref 71\)'
    ) as caught:
        runner.model.train_step(spoiled, runner.optim_wrapper)
    assert {name for name in SPOILED['a picture'][1] if f'{name} is' in str(caught.value)} == expected
    assert ('before this step' in str(caught.value)) == what.startswith('the')  # there a weight was spoiled
    torch.testing.assert_close(dict(runner.model.named_parameters()), weights, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize('what', SPOILED)
def test_a_skipped_step_changes_nothing(
    what: str, tiny_model: Callable[..., nn.Module], batch: Callable[[], dict[str, Any]]
) -> None:
    runner = make_runner(tiny_model(), f'skip {what}', clip_grad=dict(max_norm=1.0))
    hook = NonFiniteLossHook(max_skips=2)
    hook.before_train(runner)
    runner.model.train_step(batch(), runner.optim_wrapper)
    spoiled = batch()
    SPOILED[what][0](runner.model, spoiled)
    before = state_of(runner)
    for number in (1, 2):
        logged = runner.model.train_step(copy.deepcopy(spoiled), runner.optim_wrapper)
        assert not logged['loss'].isfinite()
        assert_same_state(runner, before)
        assert f'step skipped, number {number} of at most 2: process 0: loss_' in runner.warnings[-1]
    with pytest.raises(NonFiniteError, match='max_skips=2 are used up'):
        runner.model.train_step(spoiled, runner.optim_wrapper)


def test_sound_losses_pass_untouched(tiny_model: Callable[..., nn.Module], batch: Callable[[], dict[str, Any]]) -> None:
    weights = []
    for hooks in ([], [NonFiniteLossHook()], [NonFiniteLossHook(max_skips=1)]):
        runner = make_runner(tiny_model(), f'sound {hooks}')
        for hook in hooks:
            hook.before_train(runner)
        torch.manual_seed(0)
        for _ in range(2):
            runner.model.train_step(batch(), runner.optim_wrapper)
        for hook in hooks:
            hook.after_train(runner)
        assert not runner.warnings and not runner.model._forward_hooks and not runner.model._forward_pre_hooks
        weights.append(state_of(runner))
    torch.testing.assert_close(weights[1:], weights[:1] * 2, rtol=0, atol=0)


def test_a_poisoned_checkpoint_is_not_written() -> None:
    runner, model = SimpleNamespace(iter=8), nn.BatchNorm1d(3)
    NonFiniteLossHook().before_save_checkpoint(runner, dict(state_dict=model.state_dict()))
    model.running_mean[1] = NAN
    with pytest.raises(
        NonFiniteError, match='Iteration 9: 1 weights or statistics are not finite, such as running_mean'
    ):
        NonFiniteLossHook().before_save_checkpoint(runner, dict(state_dict=model.state_dict()))


def test_a_gradient_that_overflows_is_refused_before_the_step(
    tiny_model: Callable[..., nn.Module], batch: Callable[[], dict[str, Any]]
) -> None:
    runner = make_runner(tiny_model(), 'gradient', clip_grad=dict(max_norm=1.0, error_if_nonfinite=True))
    before = copy.deepcopy(dict(runner.model.named_parameters()))
    next(runner.model.parameters()).register_hook(lambda gradient: gradient * NAN)
    with pytest.raises(RuntimeError, match='non-finite'):
        runner.model.train_step(batch(), runner.optim_wrapper)
    torch.testing.assert_close(dict(runner.model.named_parameters()), before, rtol=0, atol=0)


def test_refused_arguments() -> None:
    with pytest.raises(ValueError, match='max_skips must be at least 0, got -1'):
        NonFiniteLossHook(max_skips=-1)
    runner = SimpleNamespace(optim_wrapper=SimpleNamespace(loss_scaler=object()), model=nn.Linear(1, 1))
    NonFiniteLossHook().before_train(runner)
    with pytest.raises(ValueError, match='gradient scaler'):
        NonFiniteLossHook(max_skips=1).before_train(runner)


def test_every_config_stops_at_such_a_loss_unless_the_command_line_says_otherwise() -> None:
    cfg = Config.fromfile(ROOT / CONFIG)
    assert [hook.get('max_skips', 0) for hook in cfg.custom_hooks if hook.type == 'NonFiniteLossHook'] == [0]
    cfg.merge_from_dict({'custom_hooks.5.max_skips': 10})  # as docs/reliability.md says
    assert [hook.get('max_skips') for hook in cfg.custom_hooks if hook.type == 'NonFiniteLossHook'] == [10]


@pytest.mark.parametrize('shared', [True, False])
def test_all_losses_are_float32_under_autocast(
    shared: bool,
    tiny_model: Callable[..., nn.Module],
    batch: Callable[[], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They come out in float32 and are computed in it: what goes into each cross entropy is float32 too."""
    branches = [dict(type='cmmasksd.LMVSD', shared=shared), dict(type='cmmasksd.VMLSD', shared=shared)]
    model, seen, layers, entropy = (
        tiny_model(distillation=branches),
        [],
        [],
        nn.functional.binary_cross_entropy_with_logits,
    )

    def watched(logits: Tensor, target: Tensor, *arguments: Any, **options: Any) -> Tensor:
        seen.append((logits.dtype, target.dtype))
        return entropy(logits, target, *arguments, **options)

    monkeypatch.setattr(nn.functional, 'binary_cross_entropy_with_logits', watched)
    layer = next(layer for layer in model.decode_head.modules() if type(layer) is nn.Linear)
    layer.register_forward_hook(lambda module, args, output: layers.append(output.dtype))
    wrapper = AutocastOptimWrapper(optim.Adam(model.parameters()))
    with wrapper.optim_context(model):
        losses = model(**model.data_preprocessor(batch(), True), mode='loss')
    assert {name: loss.dtype for name, loss in losses.items()} == dict.fromkeys(
        ('loss_seg', 'loss_lmvsd', 'loss_vmlsd'), torch.float32
    )
    assert seen and set(seen) == {(torch.float32, torch.float32)}
    assert set(layers) == {torch.bfloat16}  # autocast was on


class Small(BaseModel):
    """A model with a batch norm whose loss is what the batch says."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))

    def forward(self, inputs: Tensor, factor: float, mode: str = 'loss', data_samples: Any = None) -> dict[str, Tensor]:
        return {'loss_small': self.layers(inputs * factor).square().mean()}


def train_ranks(unused: bool, folder: Path) -> None:
    """Four steps, the second with a NaN on rank 1 alone; then the same without that step."""
    rank, states = torch.distributed.get_rank(), []
    for factors in ((1.0, NAN if rank else 1.0, 2.0, 3.0), (1.0, 2.0, 3.0)):
        model = MMDistributedDataParallel(Small(), broadcast_buffers=False, find_unused_parameters=unused)
        runner = make_runner(model, f'rank {rank} {len(factors)}')
        NonFiniteLossHook(max_skips=1).before_train(runner)
        for runner.iter, factor in enumerate(factors):
            inputs = torch.arange(8.0).view(4, 2) + rank + factor if factor == factor else torch.ones(4, 2)
            model.train_step(dict(inputs=inputs, factor=factor), runner.optim_wrapper)
        states.append(state_of(runner))
        print(*runner.warnings)
    torch.testing.assert_close(*states, rtol=0, atol=0)
    torch.save(model.module.layers[0].weight, folder / f'weight_{rank}.pth')


@pytest.mark.slow
@pytest.mark.parametrize('unused', [False, True], ids=['all parameters used', 'unused ones looked for'])
def test_all_processes_skip_a_step_that_one_cannot_take(unused: bool, tmp_path: Path) -> None:
    printed = run_ranks(train_ranks, 2, tmp_path, unused, tmp_path)
    for output in printed:
        assert (
            output.count('step skipped') == 1 and 'process 1: loss_small is nan' in output and 'process 0' not in output
        )
    assert torch.equal(*(torch.load(tmp_path / f'weight_{rank}.pth') for rank in range(2)))
