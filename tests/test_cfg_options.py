"""What --cfg-options makes of what a person types."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from cmmasksd.cfg_options import CfgOptions, merge_options

CONFIG = dict(
    model=dict(threshold=0.35, pretrained='openai', init_cfg=None, sizes=[480, 480], blocks=(3, 7)),
    train_dataloader=dict(
        batch_size=4, dataset=dict(data_root='data/refer', pipeline=[dict(type='A'), dict(type='B')])
    ),
    test_cfg=dict(splits=['val', 'testA']),
    load_from=None,
    resume=False,
)


def merged(*given: str) -> Config:
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptions)
    cfg = Config(CONFIG)
    merge_options(cfg, parser.parse_args(['--cfg-options', *given]).cfg_options)
    return cfg


ROOT = 'train_dataloader.dataset.data_root'
VALUES: list[tuple[str, str, Any]] = [
    (ROOT, '/data/a,b', '/data/a,b'),
    (ROOT, '/data/my set, new', '/data/my set, new'),
    (ROOT, '/data/my set', '/data/my set'),
    (ROOT, 'a,b', 'a,b'),
    (ROOT, 'C:\\data\\a,b', 'C:\\data\\a,b'),
    (ROOT, '[a,b]', ['a', 'b']),
    (ROOT, 'key=value,other', 'key=value,other'),
    (ROOT, '', ''),
    ('load_from', 'runs/lr=1,wd=2/epoch_1.pth', 'runs/lr=1,wd=2/epoch_1.pth'),
    ('load_from', 'a,b.pth', 'a,b.pth'),
    ('work_dir', '/out/a,b', '/out/a,b'),
    ('test_cfg.splits', 'val,testB', ['val', 'testB']),
    ('test_cfg.splits', '[val,testB]', ['val', 'testB']),
    ('test_cfg.splits', '/a,/b', ['/a', '/b']),
    ('model.sizes', '480,576', [480, 576]),
    ('model.blocks', '(3,7)', (3, 7)),
    ('model.blocks', '[(1,2),(3,4)]', [(1, 2), (3, 4)]),
    ('model.new', '0.9,0.999', [0.9, 0.999]),
    ('model.init_cfg', '1,2', [1, 2]),
    ('model.threshold', '0.5', 0.5),
    ('model.threshold', '1e-3', 1e-3),
    ('model.pretrained', 'None', None),
    ('model.pretrained', '512', 512),
    ('model.pretrained', "'a,b'", 'a,b'),
    ('model.pretrained', '"512"', '512'),
    ('model.pretrained', "'[a,b]'", ['a', 'b']),
    ('resume', 'True', True),
    ('train_dataloader.dataset.pipeline.1.type', 'C', 'C'),
]


@pytest.mark.parametrize(('key', 'text', 'value'), VALUES)
def test_a_value_is_what_its_place_says(key: str, text: str, value: Any) -> None:
    found: Any = merged(f'{key}={text}')
    for part in key.split('.'):
        found = found[int(part)] if isinstance(found, (list, tuple)) else found[part]
    assert found == value and type(found) is type(value)


def test_several_options_and_none() -> None:
    cfg = merged('model.threshold=0.1', 'model.threshold=0.2', 'model.optimizer.type=SGD', 'model.optimizer.lr=1')
    assert cfg.model.threshold == 0.2 and cfg.model.optimizer == dict(type='SGD', lr=1)
    untouched = Config(CONFIG)
    merge_options(untouched, None)
    assert untouched.to_dict() == Config(CONFIG).to_dict()


def test_options_given_twice_add_up() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptions)
    args = parser.parse_args(['--cfg-options', 'a=1', '--cfg-options', 'b=2', 'a=3'])
    assert args.cfg_options == {'a': '3', 'b': '2'}


BAD: list[tuple[str, str]] = [
    (
        'model.pretrained=a,b',
        r"'a,b' may be text or a list, and replaces 'openai': write model.pretrained=\[...\] for a",
    ),
    ('model.sizes=[1,2', r"the brackets of '\[1,2' do not match"),
    ('model.sizes=(1,2', r'do not match'),
    ('lr=5', "no 'lr', and nothing would read it; do you mean 'optim_wrapper.optimizer.lr'"),
    ('optimizer.lr=1e-4', "do you mean 'optim_wrapper.optimizer.lr'"),
    ('seed=5', "do you mean 'randomness.seed'"),
    ('nonsense=5', 'nothing would read it; print_config.py shows what it has'),
    ('train_datalaoder.batch_size=2', "the config has no 'train_datalaoder'; do you mean 'train_dataloader'?"),
    ('train_dataloader.dataset.pipeline.2.type=C', 'pipeline is a list of 2: give a number below that'),
    ('train_dataloader.dataset.pipeline.first.type=C', 'pipeline is a list of 2: give a number below that'),
    ('model.threshold.value=1', r'model.threshold is 0.35 in the config and has nothing in it; set model.threshold'),
    ('model.init_cfg.type=x', 'model.init_cfg is None in the config and has nothing in it'),
]


@pytest.mark.parametrize(('given', 'message'), BAD)
def test_what_cannot_be_is_said_with_its_option(given: str, message: str) -> None:
    with pytest.raises(ValueError, match=f'^--cfg-options {re.escape(given.partition("=")[0])}: .*{message}') as caught:
        merged(given)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize('given', ['model.threshold', '=5', 'set', '.=1'])
def test_what_is_no_pair(given: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        merged('model.threshold=1', given)
    assert f"'{given}' is no KEY=VALUE; leave no blank around =" in ' '.join(capsys.readouterr().err.split())


def test_every_tool_reads_them_so() -> None:
    told = "add_argument('--cfg-options'"
    files = Path(__file__).parents[1].glob('tools/**/*.py')
    tools = [path for path in files if told in re.sub(r'\(\s+', '(', path.read_text())]
    assert len(tools) >= 6
    assert [
        path.name for path in tools if 'DictAction' in path.read_text() or 'merge_options(' not in path.read_text()
    ] == []
