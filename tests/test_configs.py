"""Every shipped config loads, agrees with itself and builds at its real size."""

from __future__ import annotations

import copy
import inspect
import re
from functools import cache
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from cmmasksd.datasets.transforms import text
from cmmasksd.datasets.transforms.tokenizers import CLIPTokenizer
from cmmasksd.registry import (
    DATA_SAMPLERS,
    DATASETS,
    FUNCTIONS,
    HOOKS,
    LOOPS,
    METRICS,
    MODELS,
    OPTIM_WRAPPER_CONSTRUCTORS,
    TRANSFORMS,
    VISBACKENDS,
    VISUALIZERS,
)
from cmmasksd.structures import TextFeatures
from tests.shipped_configs import CONFIGS, LOADERS, ROOT, load

COUNT = 81  # raise it with every config that is added: then it is known that the new one was found and tested
MAX_LINES = 60
# those that differ by more than a number
SHAPES = [name for name in CONFIGS if 'ablations' not in name or Path(name).stem in ('baseline', 'lmvsd-vmlsd_shared')]


@cache
def build_on_meta(name: str) -> torch.nn.Module:
    cfg = load(name)
    with DefaultScope.overwrite_default_scope(cfg.default_scope), torch.device('meta'):
        return MODELS.build(cfg.model)


def step_of(cfg: Config, loader: str, kind: str) -> dict:
    """The one step of that type in a loader's pipeline."""
    (step,) = (step for step in cfg[loader].dataset.pipeline if step['type'] == kind)
    return ConfigDict(step)  # a list that a config makes anew holds plain dicts


def test_the_count_of_configs():
    assert len(CONFIGS) == COUNT


@pytest.mark.parametrize('size', ['b', 'l'])
@pytest.mark.parametrize('dataset', ['refcoco', 'refcoco+', 'refcocog'])
def test_the_papers_main_jobs_are_there(size, dataset):
    assert f'cm_masksd/vit-{size}_{dataset}.py' in CONFIGS


@pytest.mark.parametrize('name', CONFIGS)
def test_a_leaf_is_short(name):
    assert len((ROOT / name).read_text(encoding='utf-8').splitlines()) <= MAX_LINES


@pytest.mark.parametrize('name', CONFIGS)
def test_nothing_looks_like_a_setting_and_is_none(name):
    """A variable left at a config's top level could be set by a child or by --cfg-options, and would do nothing."""
    read_later = {'model_wrapper_cfg'}  # by Runner.wrap_model, from the whole config
    assert set(load(name)) <= set(inspect.signature(Runner.__init__).parameters) | read_later


@pytest.mark.parametrize('name', SHAPES)
def test_it_dumps_and_reloads(name, tmp_path):
    cfg = load(name)
    cfg.dump(tmp_path / 'dumped.py')
    assert Config.fromfile(tmp_path / 'dumped.py').to_dict() == cfg.to_dict()


@pytest.mark.parametrize('name', CONFIGS)
def test_the_model_builds_at_its_real_size(name):
    cfg = load(name)
    model = build_on_meta(name)
    assert sum(parameter.numel() for parameter in model.parameters()) > 1e6
    assert list(model.distillation) == [
        branch.type.rsplit('.')[-1].lower() for branch in cfg.model.get('distillation', [])
    ]
    for part in ('backbone', 'text_encoder'):
        assert getattr(model, part).pretrained == cfg.model[part].get('pretrained')
    backbone, neck, head = model.backbone, model.neck, model.decode_head
    assert tuple(cfg.model.neck.in_channels) == backbone.out_channels
    assert cfg.model.decode_head.channels == neck.out_channels
    if name.startswith('lavt/'):  # the image encoder has read the sentence: neck and head do not
        assert backbone.needs_text and model.text_encoder.out_channels == model.text_encoder.word_channels == 768
        return
    assert cfg.model.neck.text_channels == cfg.model.decode_head.text_channels == model.text_encoder.out_channels
    assert cfg.model.decode_head.word_channels == model.text_encoder.embed_dims
    assert cfg.model.decode_head.channels == head.norm.normalized_shape[0]


# ablations run as the baseline does
@pytest.mark.parametrize('name', [name for name in CONFIGS if 'ablations' not in name or 'baseline' in name])
def test_the_meta_model_runs_at_the_pipelines_size(name, monkeypatch):
    """Shapes of the whole flow, without a number being computed."""
    cfg = load(name)
    model = build_on_meta(name).eval()
    if name.startswith('lavt/'):  # transformers looks at the values of its mask, of which there are none
        words, none = torch.zeros(2, 20, 768, device='meta'), torch.zeros(2, 20, dtype=torch.bool, device='meta')
        features = TextFeatures(words, words, words[:, 0], padding=none, word_tokens=none)
        monkeypatch.setattr(model, 'encode_text', lambda *_: features)
    height, width = step_of(cfg, 'train_dataloader', 'LetterboxResize').size
    length = step_of(cfg, 'train_dataloader', 'TokenizeExpressions').token_length
    with torch.device('meta'), torch.no_grad():
        logits = model(
            torch.zeros(1, 3, height, width), torch.zeros(2, length, dtype=torch.long), torch.zeros(2, dtype=torch.long)
        )
    # a ResNet's deepest grid is half of the neck's
    enlarged = 8 if cfg.model.backbone.type == 'OpenCLIPResNet' else 4
    if name.startswith('lavt/'):
        enlarged = 32  # to the input's size
    assert logits.shape == (2, 1, *(enlarged * side for side in model.backbone.grid_size))


def test_the_readmes_parameters_are_those_of_the_models():
    readme = (ROOT / 'cm_masksd/README.md').read_text(encoding='utf-8')
    rows = dict(re.findall(r'^\| `([\w/-]+\.py)`.*? \| ([\d,.]+) M \| [\d,]+ \|$', readme, re.MULTILINE))
    assert set(rows) == {'vit-l_refcoco.py', 'modern/eva02-l_refcoco.py', 'modern/siglip2-so400m_refcoco.py'}
    for name, count in rows.items():
        parameters = sum(parameter.numel() for parameter in build_on_meta(f'cm_masksd/{name}').parameters())
        assert f'{parameters / 1e6:,.1f}' == count, name


@pytest.mark.parametrize('name', CONFIGS)
def test_pipelines_agree_with_the_towers(name):
    cfg = load(name)
    model = build_on_meta(name)
    lengths = set()
    for loader in LOADERS:
        assert tuple(step_of(cfg, loader, 'LetterboxResize').size) == tuple(model.backbone.image_size)
        assert step_of(cfg, loader, 'LetterboxResize').get('resize_masks', True) == (loader == 'train_dataloader')
        drawn = loader == 'train_dataloader' and not cfg[loader].dataset.get('by_image')
        assert step_of(cfg, loader, 'SelectSentences').mode == ('random' if drawn else 'all')
        lengths.add(step_of(cfg, loader, 'TokenizeExpressions').token_length)
    assert len(lengths) == 1
    assert getattr(model.text_encoder, 'min_tokens', 1) <= lengths.pop() <= model.text_encoder.max_tokens


@pytest.mark.parametrize('name', CONFIGS)
def test_data_sets_and_splits(name):
    cfg = load(name)
    datasets = [cfg[loader].dataset for loader in LOADERS]
    assert [dataset.split for dataset in datasets] == ['train', 'val', 'val']
    assert [dataset.get('test_mode', False) for dataset in datasets] == [False, True, True]
    assert len({(dataset.dataset, dataset.split_by, dataset.data_root) for dataset in datasets}) == 1
    assert {dataset.sentence_field for dataset in datasets} == {'raw' if name.startswith('lavt/') else 'sent'}
    assert set(cfg.test_cfg.get('paper', {})) <= set(cfg.test_cfg.splits)
    assert [cfg[loader].sampler.shuffle for loader in LOADERS] == [True, False, False]
    assert [cfg[loader].drop_last for loader in LOADERS] == [True, False, False]  # no picture is left out of a score
    assert cfg.val_dataloader == cfg.test_dataloader and cfg.val_evaluator == cfg.test_evaluator


def test_the_quick_start_checks_that_the_sentence_matters():
    cfg = load('cm_masksd/resnet-tiny_refshapes-benchmark.py')
    assert cfg.val_evaluator.derangement and cfg.val_evaluator.localisation
    assert cfg.test_cfg.splits == ['val', 'testA', 'testB', 'testC', 'testD']
    assert len(cfg.model.distillation) == 2 and cfg.custom_hooks[-1] == dict(type='LateDistillationHook', begin=0.9)


def test_the_benchmark_tells_the_right_object_from_all_others_where_it_evaluates():
    cfg = load('cm_masksd/vit-tiny_refshapes-benchmark.py')
    assert [cfg[loader].dataset.get('all_objects', False) for loader in LOADERS] == [False, True, True]
    assert cfg.val_evaluator.localisation and cfg.val_evaluator.derangement
    assert cfg.test_cfg.splits == ['val', 'testA', 'testB', 'testC', 'testD']


@pytest.mark.parametrize('name', SHAPES)
def test_data_lie_where_the_readme_says_and_are_loaded_by_workers_where_pictures_are_large(name):
    cfg = load(name)
    small = 'refshapes' in name
    for loader in (cfg[loader] for loader in LOADERS):
        assert loader.dataset.data_root == ('data/refshapes' if small else 'data/refer')
        assert not small or loader.dataset.dataset in ('refshapes', 'refshapes-benchmark')
        by_image = loader.dataset.get('by_image', False)  # the benchmark's pictures bring four sentences each
        batch = (loader.batch_size, loader.num_workers, loader.persistent_workers)
        of_eight = name.startswith(('cris/', 'lavt/lavt_')) and loader is cfg.train_dataloader
        large = 8 if of_eight else 4
        assert batch == ((8 if by_image else 16, 0, False) if small else (large, 4, True))


@pytest.mark.parametrize('name', CONFIGS)
def test_every_run_starts_anew_and_keeps_its_best_checkpoint(name):
    cfg = load(name)
    assert (cfg.load_from, cfg.resume, cfg.randomness, cfg.log_level) == (None, False, dict(seed=0), 'INFO')
    assert cfg.log_processor.window_size == cfg.default_hooks.logger.interval == 50
    interval = 1 if cfg.train_cfg.type == 'EpochBasedTrainLoop' else 2_650  # two epochs of RefCOCO
    checkpoint = dict(interval=interval, max_keep_ckpts=2, save_best='mIoU', rule='greater')
    assert checkpoint.items() <= cfg.default_hooks.checkpoint.to_dict().items()
    env = dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
    assert cfg.env_cfg == dict(env, dist_cfg=dict(backend='nccl'))
    assert cfg.train_cfg.val_interval == interval and LOOPS.get(cfg.val_cfg.type) and LOOPS.get(cfg.test_cfg.type)
    assert cfg.visualizer.name == 'visualizer'
    assert cfg.model.get('expressions_per_chunk', 16) == 16


@pytest.mark.parametrize('name', SHAPES)
def test_a_setting_changed_on_the_command_line_stays_by_itself(name):
    """Loaders that were one object in the file are not one in the config."""
    cfg = copy.deepcopy(load(name))
    before = cfg.to_dict()
    cfg.merge_from_dict({'val_dataloader.dataset.pipeline.3.size': (480, 480), 'val_evaluator.prefix': 'x'})
    assert step_of(cfg, 'val_dataloader', 'LetterboxResize').size == (480, 480)
    for key in ('train_dataloader', 'test_dataloader', 'test_evaluator', 'model'):
        assert cfg[key].to_dict() == before[key]


@pytest.mark.parametrize('name', CONFIGS)
def test_every_other_type_exists(name, monkeypatch):
    cfg = load(name)
    if 'mmseg.' in str(cfg.train_dataloader.dataset.pipeline):
        pytest.importorskip('mmseg.datasets.transforms', exc_type=ImportError)  # official: compiled ops
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        tokenizers = {step_of(cfg, loader, 'TokenizeExpressions').get('tokenizer') for loader in LOADERS} - {None}
        for tokenizer in tokenizers:  # on the hub; any will do
            monkeypatch.setattr(text, 'get_tokenizer', lambda name: CLIPTokenizer())
            bert = cfg.model.text_encoder.get('name_or_path')
            assert tokenizer == ('bert-base-uncased' if bert else cfg.model.text_encoder.architecture)
        for loader in LOADERS:
            assert DATASETS.get(cfg[loader].dataset.type)
            assert DATA_SAMPLERS.get(cfg[loader].sampler.type) and FUNCTIONS.get(cfg[loader].collate_fn.type)
            pipeline = [TRANSFORMS.build(step) for step in cfg[loader].dataset.pipeline]
            assert len(pipeline) >= 6
        for hook in (*cfg.default_hooks.values(), *cfg.custom_hooks):
            HOOKS.build(hook)
        METRICS.build(cfg.val_evaluator)
        assert VISUALIZERS.get(cfg.visualizer.type)
        assert all(VISBACKENDS.get(backend.type) for backend in cfg.visualizer.vis_backends)
        assert OPTIM_WRAPPER_CONSTRUCTORS.get(cfg.optim_wrapper.constructor)


def test_the_readmes_own_config_changes_every_place(tmp_path):
    """Another size, token length and folder, as the README shows it; the config is dumped and read as by a Runner."""
    readme = (ROOT / 'cm_masksd/README.md').read_text(encoding='utf-8')
    blocks = (block.split('```')[0] for block in readme.split('```python\n')[1:])
    (code,) = (block for block in blocks if '_base_' in block)
    (tmp_path / 'mine.py').write_text(code.replace("'./", f"'{ROOT}/cm_masksd/"))
    Config.fromfile(tmp_path / 'mine.py').dump(tmp_path / 'dumped.py')
    cfg = Config.fromfile(tmp_path / 'dumped.py')
    assert set(cfg) == set(load('cm_masksd/vit-b_refcoco.py'))
    assert cfg.model.backbone.image_size == (480, 480)
    for loader in LOADERS:
        assert cfg[loader].dataset.data_root == '/data/refer'
        assert step_of(cfg, loader, 'LetterboxResize').size == (480, 480)
        assert step_of(cfg, loader, 'TokenizeExpressions').token_length == 30
