"""Our types from every scope, and other projects' types inside our configs."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import mmseg.registry
import pytest
import torch
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope, Registry

from cmmasksd import registry

PREFIXED = dict(type='cmmasksd.CrossModalFPN', in_channels=(4, 4, 4), text_channels=4, out_channels=(4, 4, 4))
BARE = {**PREFIXED, 'type': 'CrossModalFPN'}
NAMES = {
    'DATASETS': ['RefCOCODataset'],
    'FUNCTIONS': ['collate_in_one_block'],
    'TRANSFORMS': [
        'AugmentPicture',
        'LoadReferringImage',
        'SelectSentences',
        'LoadReferringMasks',
        'FlipWithSentence',
        'LetterboxResize',
        'StretchPicture',
        'TokenizeExpressions',
        'PackReferringInputs',
    ],
    'MODELS': [
        'ReferringSegmentor',
        'ReferringTTAModel',
        'ReferringDataPreprocessor',
        'OpenCLIPResNet',
        'OpenCLIPVisionTransformer',
        'OpenCLIPTextTransformer',
        'HuggingFaceTextEncoder',
        'ImageBackboneAdapter',
        'LanguageAlignedViT',
        'LanguageAwareSwin',
        'TimmBackbone',
        'StageBridge',
        'CrossModalFPN',
        'SentenceGatedNeck',
        'TopDownNeck',
        'PixelClassifierHead',
        'VisionLanguageDecodeHead',
        'DecodeHeadAdapter',
        'AMLRIS',
        'ClassWeightedBCELoss',
        'DiceLoss',
        'DropoutSelfDistillation',
        'LMVSD',
        'MaskRIS',
        'VMLSD',
    ],
    'EVALUATOR': ['DenseCRFEvaluator'],
    'METRICS': ['DumpPredictions', 'ReferringIoUMetric'],
    'HOOKS': [
        'LateDistillationHook',
        'AccumulatedGradientsHook',
        'AtomicCheckpointHook',
        'AverageStatisticsHook',
        'CheckpointFirstHook',
        'CompileHook',
        'EpochSeedHook',
        'FrozenPartsHook',
        'MissedValidationHook',
        'NonFiniteLossHook',
        'ReferringVisualizationHook',
        'ResumeHook',
        'RunCheckHook',
        'StrictLoadHook',
    ],
    'LOOPS': ['SplitTestLoop'],
    'OPTIM_WRAPPERS': ['AutocastOptimWrapper'],
    'OPTIM_WRAPPER_CONSTRUCTORS': ['ReferringOptimWrapperConstructor'],
    'VISUALIZERS': ['ReferringVisualizer'],
}


@pytest.fixture(scope='module')
def third_scope() -> Registry:
    """Another project that builds on mmengine and knows nothing of us."""
    return Registry('model', parent=ROOT_MODELS, scope='thirdproject')


def require_mmseg(room: str) -> None:
    """Skips where mmseg's registries cannot be asked: they import mmseg's own types first, and the official ones need
    mmcv's compiled ops.
    """
    try:
        import_module(f'mmseg.{room}')
    except ImportError as error:
        pytest.skip(f"mmseg.{room} needs mmcv's compiled ops, which are absent here ({error})")


def class_of(instance: object) -> str:
    return f'{type(instance).__module__}.{type(instance).__qualname__}'


@pytest.mark.parametrize('name', NAMES)
def test_every_type_is_found_bare_and_from_the_root(name, no_default_scope):
    ours = getattr(registry, name)
    for type_name in NAMES[name]:
        found = ours.get(type_name)
        assert found is not None and found.__module__.startswith('cmmasksd.')
        assert ours.parent.get(f'cmmasksd.{type_name}') is found
    assert set(NAMES[name]) == {
        key for key, kind in ours.module_dict.items() if kind.__module__.startswith('cmmasksd.')
    }


def test_every_registry_is_a_direct_child_of_the_root():
    registries = {name: value for name, value in vars(registry).items() if isinstance(value, Registry)}
    assert set(NAMES) < set(registries)
    for ours in registries.values():
        assert (ours.scope, ours.parent.scope, ours.parent.parent) == ('cmmasksd', 'mmengine', None)


@pytest.mark.parametrize(
    ('name', 'borrowed'),
    [('OPTIMIZERS', 'Adam'), ('PARAM_SCHEDULERS', 'CosineAnnealingLR'), ('HOOKS', 'SyncBuffersHook')],
)
def test_mmengines_types_are_named_bare_in_our_scope(name, borrowed):
    with DefaultScope.overwrite_default_scope('cmmasksd'):
        assert getattr(registry, name).get(borrowed) is getattr(registry, name).parent.get(borrowed) is not None


@pytest.mark.parametrize('config', [BARE, PREFIXED])
def test_building_without_a_scope(config, no_default_scope):
    assert class_of(registry.MODELS.build(config)).endswith('.CrossModalFPN')


def test_building_from_the_root_without_a_scope(no_default_scope):
    assert class_of(ROOT_MODELS.build(PREFIXED)).endswith('.CrossModalFPN')
    with pytest.raises(KeyError):
        ROOT_MODELS.build(BARE)


@pytest.mark.parametrize('config', [BARE, PREFIXED])
def test_building_in_our_scope(config):
    with DefaultScope.overwrite_default_scope('cmmasksd'):
        for models in (registry.MODELS, ROOT_MODELS):
            assert class_of(models.build(config)).endswith('.CrossModalFPN')


@pytest.mark.parametrize('scope', ['mmseg', 'thirdproject', 'mmengine'])
def test_building_in_another_projects_scope(scope, third_scope):
    if scope == 'mmseg':
        require_mmseg('models')
    registries = {'mmseg': mmseg.registry.MODELS, 'thirdproject': third_scope, 'mmengine': ROOT_MODELS}
    with DefaultScope.overwrite_default_scope(scope):
        for models in (registries[scope], registry.MODELS, ROOT_MODELS):
            assert class_of(models.build(PREFIXED)).endswith('.CrossModalFPN')


@pytest.mark.parametrize('scope', ['mmseg', 'thirdproject', 'cmmasksd'])
def test_a_whole_segmentor_in_another_scope(scope, third_scope, tiny_config):
    if scope == 'mmseg':
        require_mmseg('models')
    with DefaultScope.overwrite_default_scope(scope):
        model = ROOT_MODELS.build(tiny_config())
    assert class_of(model).endswith('.ReferringSegmentor')
    assert class_of(model.data_preprocessor).endswith('.ReferringDataPreprocessor')
    assert sorted(model.distillation) == ['lmvsd', 'vmlsd']


def test_transforms_in_mmsegs_scope():
    require_mmseg('datasets.transforms')
    with DefaultScope.overwrite_default_scope('mmseg'):
        resize = mmseg.registry.TRANSFORMS.build(dict(type='cmmasksd.LetterboxResize', size=(32, 32)))
        assert class_of(resize).startswith('cmmasksd.datasets')


def test_metrics_in_mmsegs_scope():
    with DefaultScope.overwrite_default_scope('mmseg'):
        metric = mmseg.registry.METRICS.build(dict(type='cmmasksd.ReferringIoUMetric'))
        assert class_of(metric).startswith('cmmasksd.evaluation')


FRESH = """
import sys
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
cfg = Config.fromfile(sys.argv[1])
assert not {name for name in sys.modules if name.startswith('cmmasksd.')} - {'cmmasksd.registry'}
with DefaultScope.overwrite_default_scope(cfg.default_scope):
    print(type(MODELS.build(cfg.model)).__module__)
"""


@pytest.mark.parametrize('scope', [None, 'mmseg'])
def test_custom_imports_are_all_that_another_project_needs(scope, tmp_path):
    if scope == 'mmseg':
        require_mmseg('models')
    config = tmp_path / 'config.py'
    config.write_text(
        f"custom_imports = dict(imports=['cmmasksd.registry'])\ndefault_scope = {scope!r}\nmodel = {PREFIXED!r}\n"
    )
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, '-c', FRESH, str(config)], cwd=root, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith('cmmasksd.models.necks.cross_modal_fpn')


def test_mmsegs_types_in_our_configs(tiny_config):
    require_mmseg('models')
    preprocessor = dict(type='mmseg.SegDataPreProcessor', mean=[1.0, 2, 3], std=[4.0, 5, 6], size=(32, 48))
    with DefaultScope.overwrite_default_scope('cmmasksd'):
        loss = registry.MODELS.build(dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True))
        model = registry.MODELS.build(
            {**tiny_config(), 'type': 'ReferringSegmentor', 'data_preprocessor': preprocessor}
        )
    assert loss(torch.zeros(2, 1, 4, 4), torch.ones(2, 4, 4)).isclose(torch.tensor(0.6931), atol=1e-4)
    assert class_of(model.data_preprocessor).startswith('mmseg.models')
    assert class_of(model).startswith('cmmasksd.models')
