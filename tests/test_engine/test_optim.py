"""Every parameter has the rate and the weight decay that ``paramwise_cfg`` gives it, or the setting is refused."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from cmmasksd.engine import ReferringOptimWrapperConstructor
from cmmasksd.engine.checks import ConfigError
from tests.test_engine.runs import FourLayers, train

LR, DECAY = 1e-3, 0.05


def build(model: nn.Module, constructor: type = ReferringOptimWrapperConstructor, **paramwise: Any) -> Any:
    config = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=LR, weight_decay=DECAY))
    return constructor(config, paramwise)(model).optimizer


def settings(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, tuple[float, float]]:
    """(rate, weight decay) of every parameter that is trained, by name."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {
        names[parameter]: (group['lr'], group['weight_decay'])
        for group in optimizer.param_groups
        for parameter in group['params']
    }


STANDARD: dict[str, dict[str, Any]] = {
    'a part': dict(custom_keys={'backbone': dict(lr_mult=0.1)}),
    'a part and its norms': dict(
        custom_keys={'backbone': dict(lr_mult=0.1, decay_mult=2.0), 'ln_1': dict(decay_mult=0.0)}
    ),
    'the longest key': dict(custom_keys={'neck': dict(lr_mult=2), 'neck.project3': dict(lr_mult=3)}),
    'norms': dict(norm_decay_mult=0.0),
    'biases': dict(bias_decay_mult=0.0, bias_lr_mult=2.0),
    'flat': dict(flat_decay_mult=0.0),
    'depthwise': dict(dwconv_decay_mult=0.5),
    'norms beside a part': dict(norm_decay_mult=0.0, custom_keys={'decode_head': dict(lr_mult=5)}),
    'duplicates': dict(bypass_duplicate=True, norm_decay_mult=0.5),
    'settings of the optimiser': dict(custom_keys={'neck': dict(lr=0.7, weight_decay=0.1)}),
}


@pytest.mark.parametrize('what', STANDARD)
def test_mmengines_keys_mean_what_they_mean_to_mmengine(what: str, tiny_model: Callable[..., nn.Module]) -> None:
    model = tiny_model()
    ours = settings(model, build(model, **STANDARD[what]))
    theirs = settings(model, build(model, DefaultOptimWrapperConstructor, **STANDARD[what]))
    assert ours == theirs and len(ours) == len(list(model.parameters()))
    assert len(set(ours.values())) > 1 or what == 'depthwise'


def test_groups_are_few_and_by_default_the_two_of_old_checkpoints(tiny_model: Callable[..., nn.Module]) -> None:
    model = tiny_model()
    towers = [p for name, p in model.named_parameters() if name.startswith(('backbone.', 'text_encoder.'))]
    head = [p for name, p in model.named_parameters() if not name.startswith(('backbone.', 'text_encoder.'))]
    for paramwise in ({}, dict(head_lr_mult=1.0), dict(head_lr_mult=10)):
        groups = build(model, **paramwise).param_groups
        assert [list(map(id, group['params'])) for group in groups] == [list(map(id, each)) for each in (towers, head)]
        assert [group['lr'] for group in groups] == [LR, LR * paramwise.get('head_lr_mult', 1)]
    assert len(build(model, norm_decay_mult=0.0, bias_decay_mult=0.0).param_groups) == 4


def test_multipliers_of_a_rate_are_multiplied(tiny_model: Callable[..., nn.Module]) -> None:
    model = tiny_model()
    found = settings(
        model,
        build(
            model,
            head_lr_mult=10,
            layer_decay_rate=0.5,
            custom_keys={'ln_post': dict(lr_mult=3), 'neck': dict(lr_mult=2)},
        ),
    )
    assert found['backbone.visual.ln_post.weight'][0] == pytest.approx(3 * LR)
    assert found['neck.upsample.weight'][0] == pytest.approx(20 * LR)
    assert found['decode_head.norm.weight'][0] == pytest.approx(10 * LR)


# the tiny model's image tower has six blocks, its text tower two
LAYERS = {
    'backbone.visual.conv1.weight': 7,
    'backbone.visual.class_embedding': 7,
    'backbone.visual.positional_embedding': 7,
    'backbone.visual.ln_pre.bias': 7,
    'backbone.visual.transformer.resblocks.0.ln_1.weight': 6,
    'backbone.visual.transformer.resblocks.3.mlp.c_fc.weight': 3,
    'backbone.visual.transformer.resblocks.5.attn.in_proj_weight': 1,
    'backbone.visual.ln_post.weight': 0,
    'backbone.visual.proj': 0,
    'text_encoder.text.token_embedding.weight': 3,
    'text_encoder.text.positional_embedding': 3,
    'text_encoder.text.transformer.resblocks.0.ln_2.weight': 2,
    'text_encoder.text.transformer.resblocks.1.attn.out_proj.bias': 1,
    'text_encoder.text.ln_final.weight': 0,
    'text_encoder.text.text_projection': 0,
    'neck.upsample.weight': 0,
    'decode_head.layers.0.norm1.weight': 0,
    'distillation.lmvsd.mask_token': 0,
}


def test_each_layer_of_a_tower_learns_slower_than_the_one_above(tiny_model: Callable[..., nn.Module]) -> None:
    model = tiny_model()
    found = settings(model, build(model, layer_decay_rate=0.8))
    assert {name: found[name][0] for name in LAYERS} == pytest.approx(
        {name: LR * 0.8**depth for name, depth in LAYERS.items()}
    )
    assert len({rate for rate, _ in found.values()}) == 8


def test_layer_decay_needs_blocks() -> None:
    with pytest.raises(ConfigError, match='layer_decay_rate needs towers of transformer blocks, and backbone has none'):
        build(FourLayers(), layer_decay_rate=0.8)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    'a misspelt setting': (dict(head_lr_mul=10), "has no setting 'head_lr_mul': write head_lr_mult"),
    'an unknown setting': (dict(warmup=3), "has no setting 'warmup': it has bias_decay_mult, "),
    'a misspelt multiplier': (
        dict(custom_keys=dict(neck=dict(lr_mul=0))),
        "no setting 'lr_mul': write lr_mult",
    ),
    'a part that is not there': (
        dict(custom_keys=dict(bakbone=dict(lr_mult=0))),
        'custom_keys.bakbone matches no parameter of the model: write .* such as backbone',
    ),
    'a deep part that is not there': (
        dict(custom_keys={'decode_head.layer.0': dict(lr_mult=0)}),
        'such as decode_head.layers.0',
    ),
    'a number in the place of a dict': (dict(custom_keys=dict(neck=0)), 'custom_keys.neck=0: write a dict'),
    'keys that are a list': (dict(custom_keys=['neck']), 'custom_keys=.*: write a dict'),
    'a negative multiplier': (
        dict(custom_keys=dict(neck=dict(lr_mult=-1))),
        'neck.lr_mult=-1: write a number at',
    ),
    'a negative decay': (dict(norm_decay_mult=-0.5), 'norm_decay_mult=-0.5: write a number at least 0'),
    'no number': (dict(head_lr_mult=float('nan')), 'head_lr_mult=nan: write a finite number'),
    'a word': (dict(head_lr_mult='ten'), "head_lr_mult='ten': write a finite number"),
    'growing layers': (dict(layer_decay_rate=1.2), 'layer_decay_rate=1.2: write a number above 0 and at most 1'),
    'no layers': (dict(layer_decay_rate=0), 'layer_decay_rate=0: write a number above 0 and at most 1'),
    'nothing left': (
        dict(head_lr_mult=0, custom_keys=dict(backbone=dict(lr_mult=0), text_encoder=dict(lr_mult=0))),
        'leaves nothing to train',
    ),
}


@pytest.mark.parametrize('what', REFUSED)
def test_a_setting_that_would_do_nothing_is_refused(what: str, tiny_model: Callable[..., nn.Module]) -> None:
    paramwise, message = REFUSED[what]
    with pytest.raises(ConfigError, match=message):
        build(tiny_model(), **paramwise)


@pytest.mark.parametrize(
    ('wrapper', 'message'),
    [
        (dict(optimizer=dict(type='Adam', lr=-1.0)), r'optim_wrapper.optimizer.lr=-1.0: write a number above 0'),
        (dict(optimizer=dict(type='Adam', lr=0)), r'optimizer.lr=0: write a number above 0'),
        (dict(optimizer=dict(type='Adam')), r'optimizer.lr=None: write a finite number'),
        (dict(optimizer=dict(type='Adam', lr=1.0, weight_decay=-1)), r'weight_decay=-1: write a number at least 0'),
        (dict(accumulative_counts=0), r'accumulative_counts=0: write a whole number, at least 1'),
        (dict(clip_grad=dict(max_norm=0)), r'clip_grad.max_norm=0: write a number above 0'),
    ],
)
def test_the_optimisers_ranges_are_checked(wrapper: dict[str, Any], message: str) -> None:
    config = {'type': 'OptimWrapper', 'optimizer': dict(type='Adam', lr=1.0), **wrapper}
    with pytest.raises(ConfigError, match=message):
        ReferringOptimWrapperConstructor(config)(FourLayers())


def test_a_multiplier_of_a_decay_that_is_not_there_is_refused() -> None:
    config = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1.0))
    with pytest.raises(ConfigError, match='norm_decay_mult multiplies .* set optim_wrapper.optimizer.weight_decay'):
        ReferringOptimWrapperConstructor(config, dict(norm_decay_mult=0.0))(FourLayers())


FREEZES: dict[str, tuple[dict[str, Any], set[str]]] = {
    'a part': (dict(custom_keys=dict(backbone=dict(lr_mult=0))), {'backbone.weight', 'backbone.bias'}),
    'both towers': (
        dict(custom_keys=dict(backbone=dict(lr_mult=0.0), text_encoder=dict(lr_mult=0))),
        {'backbone.weight', 'backbone.bias', 'text_encoder.weight', 'text_encoder.bias'},
    ),
    'one weight, by a key with a dot as --cfg-options nests it': (
        dict(custom_keys=dict(backbone=dict(weight=dict(lr_mult=0)))),
        {'backbone.weight'},
    ),
    'the head': (
        dict(head_lr_mult=0),
        {'neck.weight', 'neck.bias', 'decode_head.weight', 'decode_head.bias'},
    ),
}


@pytest.mark.parametrize('what', FREEZES)
def test_a_frozen_part_never_moves(what: str, tmp_path: Path) -> None:
    """Neither by weight decay nor by a floor of the schedule."""
    paramwise, frozen = FREEZES[what]
    floor = [dict(type='CosineAnnealingLR', eta_min=0.01, convert_to_iter_based=True)]
    torch.manual_seed(0)
    before = {name: value.clone() for name, value in FourLayers().state_dict().items()}
    runner, _ = train(tmp_path, optim_wrapper__paramwise_cfg=paramwise, param_scheduler=floor)
    after = runner.model.state_dict()
    assert {name for name in before if torch.equal(before[name], after[name])} == frozen
    assert {name for name, parameter in runner.model.named_parameters() if not parameter.requires_grad} == frozen


def test_several_processes_await_the_gradients_of_what_is_frozen(tmp_path: Path) -> None:
    """A wrapped model's parameters keep ``requires_grad``, and none of the frozen ones is in the optimiser."""
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    freeze = dict(custom_keys=dict(backbone=dict(lr_mult=0)))
    config = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=0.1))
    try:
        model = MMDistributedDataParallel(FourLayers(), device_ids=None)
        wrapper = ReferringOptimWrapperConstructor(config, freeze)(model)
        before = {name: value.clone() for name, value in model.module.state_dict().items()}
        for _ in range(3):
            model.train_step(dict(inputs=[1, 2]), wrapper)
    finally:
        torch.distributed.destroy_process_group()
    same = {name.split('.')[0] for name, value in model.module.state_dict().items() if torch.equal(value, before[name])}
    assert same == {'backbone'}
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.fixture
def log() -> Iterator[list[str]]:
    """What mmengine's logger is told."""

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    lines: list[str] = []
    logger, keeper = MMLogger.get_instance('optim', log_level='INFO'), Keeper(logging.INFO)
    logger.addHandler(keeper)
    yield lines
    logger.removeHandler(keeper)


def test_the_log_has_a_line_for_each_group(log: list[str], tiny_model: Callable[..., nn.Module]) -> None:
    build(tiny_model(), norm_decay_mult=0.0, custom_keys=dict(backbone=dict(lr_mult=0)))
    assert len(log) == 5 and sum('weights: lr 0.001, weight decay 0.05' in line for line in log) == 2
    assert sum('weights: frozen' in line for line in log) == 1


def test_a_decay_that_custom_keys_shut_out_is_said(log: list[str], tiny_model: Callable[..., nn.Module]) -> None:
    said = 'custom_keys.backbone has no decay_mult, so that what it matches keeps the full weight decay'
    build(tiny_model(), norm_decay_mult=0.0, custom_keys=dict(backbone=dict(lr_mult=0.1)))
    assert any(said in line for line in log)
    log.clear()
    build(tiny_model(), norm_decay_mult=0.0, custom_keys=dict(backbone=dict(lr_mult=0.1, decay_mult=1)))
    assert not any(said in line for line in log)
