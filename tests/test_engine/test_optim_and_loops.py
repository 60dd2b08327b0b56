"""Parameter groups, autocast, and the table of several splits."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from cmmasksd.engine import AutocastOptimWrapper, ReferringOptimWrapperConstructor, SplitTestLoop, loops
from cmmasksd.engine.loops import format_table


class Parts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.text_encoder, self.neck = nn.Linear(2, 3), nn.Linear(3, 4), nn.Linear(4, 5)
        self.neck.bias.requires_grad_(False)


@pytest.mark.parametrize('head_lr_mult', [1.0, 10.0])
def test_towers_and_head_have_their_rates(head_lr_mult: float) -> None:
    config = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-5, weight_decay=5e-4))
    model = Parts()
    optimizer = ReferringOptimWrapperConstructor(config, dict(head_lr_mult=head_lr_mult))(model).optimizer
    towers, head = optimizer.param_groups
    assert [len(towers['params']), len(head['params'])] == [4, 1]
    assert towers['lr'] == 1e-5 and head['lr'] == pytest.approx(1e-5 * head_lr_mult)
    assert {group['weight_decay'] for group in optimizer.param_groups} == {5e-4}


def test_autocast_is_bfloat16_and_leaves_parameters_alone() -> None:
    model = nn.Linear(2, 2)
    wrapper = AutocastOptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0))
    with wrapper.optim_context(model):
        output = model(torch.ones(1, 2))
    assert output.dtype == torch.bfloat16 and model.weight.dtype == torch.float32
    wrapper.update_params(output.float().sum())
    assert not torch.is_autocast_enabled('cpu')


def test_table_has_the_papers_row_below_ours() -> None:
    table = format_table(
        {'val': {'mIoU': 71.234, 'num_expressions': 10834}, 'testA': {'mIoU': 70.0}}, {'val': {'mIoU': 72.18}}
    )
    rows = [
        [cell.strip() for cell in line.strip('|').split('|')] for line in table.splitlines() if line.startswith('|')
    ]
    assert rows == [
        ['split', 'mIoU', 'num_expressions'],
        ['val', '71.23', '10834'],
        ['val (paper)', '72.18', ''],
        ['testA', '70.00', ''],
    ]


class RecordedLoop:
    """In the place of mmengine's TestLoop: says what is read and what is run, in order."""

    said: list[str] = []

    def __init__(self, runner: object, dataloader: dict, evaluator: dict) -> None:
        self.split = dataloader['dataset']['split']
        if self.split == 'testC':
            raise ValueError('no split testC')
        if not isinstance(dataloader, Built):
            self.said.append(f'read {self.split}')
        self.dataloader = dataloader

    def run(self) -> dict[str, float]:
        self.said.append(f'run {self.split}')
        return {'mIoU': 50.0}


class Built(dict):
    """A dataloader that was built of this config."""


def build(loop: loops.BaseLoop, runner: object, dataloader: dict) -> None:
    """In the place of BaseLoop's ``__init__``."""
    RecordedLoop.said.append(f'read {dataloader["dataset"]["split"]}')
    loop._runner, loop.dataloader = runner, Built(dataloader)


def make_loop(splits: list[str], monkeypatch: pytest.MonkeyPatch) -> SplitTestLoop:
    monkeypatch.setattr(loops, 'TestLoop', RecordedLoop)
    monkeypatch.setattr(RecordedLoop, 'said', [])
    monkeypatch.setattr(loops.BaseLoop, '__init__', build)
    runner = SimpleNamespace(logger=SimpleNamespace(info=lambda text: None))
    return SplitTestLoop(runner, dict(dataset=dict(split='val')), dict(type='ReferringIoUMetric'), splits)


def test_a_split_that_does_not_exist_is_said_before_any_is_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = make_loop(['val', 'testC'], monkeypatch)
    with pytest.raises(ValueError, match='no split testC'):
        loop.run()
    assert RecordedLoop.said == ['read val']


def test_every_split_is_evaluated_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_loop(['testB', 'val'], monkeypatch).run() == {'testB/mIoU': 50.0, 'val/mIoU': 50.0}
    assert RecordedLoop.said == ['read testB', 'read val', 'run testB', 'run val']
