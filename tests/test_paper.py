"""The configs and their README against the paper's own data, configs/cm_masksd/paper_tables.yml."""

from __future__ import annotations

import inspect
import json
import math
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import Tensor, nn

from cmmasksd.datasets.transforms import TokenizeExpressions
from cmmasksd.models import LMVSD, VMLSD, CrossModalFPN, ReferringSegmentor, VisionLanguageDecodeHead
from cmmasksd.models.distillation.correlation import choose_masked
from tests import paper
from tests.shipped_configs import CONFIGS, LOADERS, ROOT, load

README = (ROOT / 'cm_masksd/README.md').read_text(encoding='utf-8')
PATHS = {Path(path).stem: path for path in CONFIGS}
MAIN = {pair: f'{pair[0]}_{pair[1]}' for pair in paper.TABLE_1}
ABLATIONS = [name for name, path in PATHS.items() if 'ablations' in path]
STEPS_PER_EPOCH = 10


def config(name: str) -> Config:
    return load(PATHS[name])


def branches(cfg: Config) -> dict[str, ConfigDict]:
    return {branch.type: branch for branch in cfg.model.distillation}


def setting(cfg: Config) -> tuple[Any, ...]:
    """What a row of Tables 2 to 5 says of a run: both branches' numbers, and whether they share weights."""
    by_type = branches(cfg)
    numbers = [
        paper.Branch(branch.mask_ratio, branch.top_k, branch.loss_weight) if branch else None
        for branch in (by_type.get('LMVSD'), by_type.get('VMLSD'))
    ]
    shared = {branch.shared for branch in by_type.values()} or {False}
    assert len(shared) == 1
    return (*numbers, shared.pop())


@pytest.mark.parametrize('pair', paper.TABLE_1, ids='_'.join)
def test_table_1(pair: tuple[str, str]) -> None:
    cfg = config(MAIN[pair])
    assert MAIN[pair] in {row['config'] for row in paper.PAPER['table_1']['rows']}
    _, splits = paper.SPLITS[pair[1]]
    assert cfg.test_cfg.splits == splits
    assert cfg.test_cfg.paper == {split: {'mIoU': score} for split, score in zip(splits, paper.TABLE_1[pair])}
    assert setting(cfg) == (paper.LMVSD, paper.VMLSD, True)
    assert not any('rounding' in branch or 'maskable' in branch for branch in branches(cfg).values())


@pytest.mark.parametrize('row', paper.ABLATIONS, ids=str)
def test_every_row_of_tables_2_to_5_has_a_config(row: paper.Row) -> None:
    (name,) = (name for name in ABLATIONS if setting(config(name)) == (row.lmvsd, row.vmlsd, row.shared))
    assert name == row.config
    scores = dict(zip(paper.METRICS, row.scores, strict=True))
    assert config(name).test_cfg == dict(type='SplitTestLoop', splits=['val'], paper=dict(val=scores))


@pytest.mark.parametrize('name', ABLATIONS)
def test_an_ablation_is_a_row_and_named_after_it(name: str) -> None:
    lmvsd, vmlsd, shared = setting(config(name))
    assert (lmvsd, vmlsd, shared) in {(row.lmvsd, row.vmlsd, row.shared) for row in paper.ABLATIONS}
    stem, _, deviation = name.partition('_')
    assert stem == ('-'.join(filter(None, ('lmvsd' * bool(lmvsd), 'vmlsd' * bool(vmlsd)))) or 'baseline')
    assert (deviation == 'shared') == shared
    if '-' in deviation:
        field = dict(weight='loss_weight', ratio='mask_ratio', topk='top_k')[deviation.split('-')[0]]
        final, branch = (paper.LMVSD, lmvsd) if lmvsd else (paper.VMLSD, vmlsd)
        assert branch == final._replace(**{field: float(deviation.split('-')[1])})


def test_words_are_masked_by_one_rule_in_all_ablations() -> None:
    found = [branches(config(name)).get('VMLSD') for name in ABLATIONS]
    rules = [(branch.rounding, branch.get('maskable', 'words')) for branch in found if branch]
    assert rules == [('stochastic', 'words')] * 16  # Table 4's 13 settings, shared, and both branches twice


def family(name: str) -> str:
    return name.split('_')[0] if name in MAIN.values() else 'ablations'


@pytest.mark.parametrize('name', [*MAIN.values(), *ABLATIONS])
def test_section_4_2(name: str) -> None:
    cfg = config(name)
    tower = 'vit-l' if family(name) == 'vit-l' else 'vit-b'
    size = (paper.IMAGE_SIZES[family(name)],) * 2
    dataset = name.split('_')[1] if name in MAIN.values() else 'refcoco'
    assert cfg.model.backbone.image_size == size
    for loader in LOADERS:
        assert [step.size for step in cfg[loader].dataset.pipeline if 'size' in step] == [size]
        lengths = [step.token_length for step in cfg[loader].dataset.pipeline if 'token_length' in step]
        assert lengths == [paper.TOKEN_LENGTHS[dataset]]
        assert (cfg[loader].dataset.dataset, cfg[loader].dataset.split_by) == (dataset, paper.SPLITS[dataset][0])
    for part in (cfg.model.backbone, cfg.model.text_encoder):
        assert (part.architecture, part.pretrained) == (paper.INITIALISED_BY[tower], 'openai')
    assert cfg.model.threshold == paper.THRESHOLD
    assert cfg.train_dataloader.batch_size * 8 == cfg.auto_scale_lr.base_batch_size == paper.BATCH_SIZE  # on 8 GPUs
    assert not cfg.auto_scale_lr.enable
    assert paper.CRIS_NECK.items() <= cfg.model.neck.to_dict().items()
    assert paper.CRIS_DECODER.items() <= cfg.model.decode_head.to_dict().items()


def test_classes_have_the_papers_values_for_defaults() -> None:
    def defaults(kind: type) -> dict[str, Any]:
        return {name: parameter.default for name, parameter in inspect.signature(kind).parameters.items()}

    assert paper.LMVSD._asdict().items() <= defaults(LMVSD).items()
    assert paper.VMLSD._asdict().items() <= defaults(VMLSD).items()
    assert paper.CRIS_NECK.items() <= defaults(CrossModalFPN).items()
    assert paper.CRIS_DECODER.items() <= defaults(VisionLanguageDecodeHead).items()
    assert defaults(ReferringSegmentor)['threshold'] == paper.THRESHOLD
    assert defaults(TokenizeExpressions)['token_length'] == paper.TOKEN_LENGTHS['refcoco']


class Dummy(BaseModel):
    """A parameter of a tower and one of the head."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.neck = nn.Linear(1, 1), nn.Linear(1, 1)

    def forward(self, inputs: Tensor, data_samples: None = None, mode: str = 'loss') -> dict[str, Tensor]:
        return {'loss': self.neck(self.backbone(torch.ones(1, 1))).sum()}


class Recorder(Hook):
    """Keeps the optimiser's groups as they are before each step."""

    def __init__(self) -> None:
        self.groups: list[list[dict[str, Any]]] = []

    def before_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        optimizer = runner.optim_wrapper.optimizer
        self.groups.append([dict(group, params=None, optimizer=type(optimizer)) for group in optimizer.param_groups])


@cache
def run(recipe: str, work_dir: Path) -> list[list[dict[str, Any]]]:
    """The optimiser's groups at each step of a training by that recipe, ten steps an epoch."""
    recorder = Recorder()
    with DefaultScope.overwrite_default_scope('cmmasksd'):
        runner = Runner(
            model=Dummy(),
            work_dir=str(work_dir),
            train_dataloader=dict(
                dataset=[0] * STEPS_PER_EPOCH, sampler=dict(type='DefaultSampler', shuffle=False), batch_size=1
            ),
            default_hooks=dict(checkpoint=None, logger=None, timer=None),
            custom_hooks=[recorder],
            default_scope='cmmasksd',
            experiment_name=f'paper-{work_dir.name}',
            log_level='ERROR',
            **json.loads(recipe),
        )
        runner.train()
    return recorder.groups


def recipe_of(name: str) -> str:
    cfg = config(name).to_dict()
    return json.dumps({key: cfg[key] for key in ('optim_wrapper', 'param_scheduler', 'train_cfg')}, sort_keys=True)


@pytest.fixture(scope='module')
def work_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp('paper')


def rate(step: int, first: float) -> float:
    """The share of the learning rate at a step: a line from ``first`` up to 1, reached by the warm-up's last step, then
    half a cosine down to 0.
    """
    warm_up, total = paper.WARM_UP_EPOCHS * STEPS_PER_EPOCH, paper.EPOCHS * STEPS_PER_EPOCH
    if step < warm_up:
        return first + (1 - first) * step / (warm_up - 1)
    return (1 + math.cos(math.pi * (step - warm_up) / (total - warm_up))) / 2


@pytest.mark.parametrize('name', [*MAIN.values(), *ABLATIONS])
def test_the_optimiser_and_its_rate_at_every_step(name: str, work_dir: Path) -> None:
    steps = run(recipe_of(name), work_dir)
    assert len(steps) == paper.EPOCHS * STEPS_PER_EPOCH
    assert config(name).optim_wrapper.get('accumulative_counts', 1) == 1
    first = steps[0][0]['lr'] / paper.LEARNING_RATE
    assert 0 <= first < 0.01  # the paper does not say where its warm-up begins
    for step, groups in enumerate(steps):
        for group in groups:
            assert group['lr'] == pytest.approx(paper.LEARNING_RATE * rate(step, first), rel=1e-6), step
            assert group['optimizer'].__name__ == paper.OPTIMIZER
            assert (group['weight_decay'], tuple(group['betas'])) == (paper.WEIGHT_DECAY, paper.BETAS)
            assert (group['eps'], group['amsgrad'], group['maximize']) == (1e-8, False, False)


def readme_rows(first_cell: str) -> list[list[str]]:
    """The cells of the README's table whose head begins with that cell, without head and rule."""
    (table,) = re.findall(rf'^\| {re.escape(first_cell)} \|.*\n\|[-|]+\n((?:\|.*\n)+)', README, re.MULTILINE)
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in table.splitlines()]


def test_the_readme_s_table_1() -> None:
    rows = readme_rows('backbone')
    for tower, row in zip(('vit-b', 'vit-l'), rows):
        assert row[1] == str(paper.IMAGE_SIZES[tower]) and row[2].startswith(f'`{tower}_')
        scores = [paper.TABLE_1[tower, dataset] for dataset in paper.TOKEN_LENGTHS]
        assert row[3:] == [' / '.join(f'{score:.2f}' for score in split) for split in scores]
    assert len(rows) == 2


def masked_on_average(mask_ratio: float, top_k: float, rounding: str, length: int, draws: int = 20000) -> float:
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(draws, length, generator=generator)
    masked = choose_masked(scores, top_k, mask_ratio, generator=generator, rounding=rounding)
    return masked.sum().item() / draws


MASKED = readme_rows('α')


@pytest.mark.parametrize('row', MASKED, ids=' '.join)
def test_the_readme_says_how_many_words_are_masked(row: list[str]) -> None:
    mask_ratio, top_k, rounding, *counts = row
    for length, count in zip((2, 3, 4, 6, 8, 17), counts, strict=True):
        measured = masked_on_average(float(mask_ratio), float(top_k), rounding.strip('`'), length)
        assert measured == pytest.approx(float(count), abs=0.02), length


def test_the_readme_has_every_setting_of_table_4() -> None:
    settings = {row.vmlsd[:2] for row in paper.ABLATIONS if row.table in ('4b', '4c')}
    expected = sorted((*pair, rounding) for pair in settings for rounding in ('`nearest`', '`stochastic`'))
    assert sorted((float(row[0]), float(row[1]), row[2]) for row in MASKED) == expected


def test_the_readme_says_what_the_final_model_masks() -> None:
    nearest = {length: masked_on_average(*paper.VMLSD[:2], 'nearest', length) for length in (1, 2, 3, 4, 6, 8)}
    assert set(nearest.values()) == {1.0}  # whatever the length
    text = ' '.join(README.split())
    assert f'one word an expression: {1 / paper.MEAN_WORDS:.0%} of the words' in text.replace(' %', '%')
