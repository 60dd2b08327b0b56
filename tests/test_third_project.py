"""Our parts in other projects' runs: whole trainings by mmseg's own tools, in scopes that know nothing of us."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from cmmasksd.checkpoints import load_checkpoint_file
from cmmasksd.datasets.refshapes import make_refshapes
from tests.forking import run, tool

ROOT = Path(__file__).resolve().parents[1]
THEIRS = Path(find_spec('mmseg').submodule_search_locations[0], '.mim/tools')  # type: ignore[union-attr, index]
IMPORTS = "custom_imports = dict(imports=['cmmasksd.registry'])\n"
pytestmark = pytest.mark.slow


def require_mmseg() -> None:
    """Skips where mmseg's own types cannot be imported: the official ones need mmcv's compiled ops."""
    try:
        import_module('mmseg.models')
    except ImportError as error:
        pytest.skip(f"mmseg.models needs mmcv's compiled ops, which are absent here ({error})")


def do(script: str, *arguments: object, log: Path) -> str:
    """Runs a tool of mmseg's own; gives what it printed."""
    log.unlink(missing_ok=True)
    assert run(tool, str(THEIRS / script), *arguments, log=log) == 0, log.read_text()[-4000:]
    return log.read_text()


# --- our whole recipe, every type by its prefix -----------------------------------------------------------------------


def prefixed(value: Any) -> Any:
    """A config with each type of ours under its full name."""
    if isinstance(value, dict):
        own = value.get('type')
        named = {'type': f'cmmasksd.{own}'} if isinstance(own, str) and is_ours(own) else {}
        return {key: prefixed(each) for key, each in value.items()} | named
    return [prefixed(each) for each in value] if isinstance(value, (list, tuple)) else value


def is_ours(name: str) -> bool:
    from cmmasksd import registry

    kinds = (each for each in vars(registry).values() if isinstance(each, registry.Registry))
    return '.' not in name and any(
        (found := kind.module_dict.get(name)) and found.__module__.startswith('cmmasksd.') for kind in kinds
    )


@pytest.fixture(scope='module')
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('data')
    make_refshapes(root, num_images=20, seed=3)
    return root


def whole_config(scope: str, root: Path) -> str:
    """RefShapes' small model, in another scope; smaller, and one split to test."""
    for room in ('datasets', 'datasets.transforms', 'models', 'engine', 'evaluation', 'visualization'):
        import_module(f'cmmasksd.{room}')
    cfg = Config.fromfile(ROOT / 'configs/cm_masksd/vit-tiny_refshapes.py')
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[loader].update(batch_size=4, num_workers=0, persistent_workers=False)
        cfg[loader].dataset.data_root = str(root)
    cfg.train_cfg.max_epochs = 2
    cfg.test_cfg.splits = ['val']
    config = prefixed(cfg.to_dict())
    optim_wrapper, test_cfg = config['optim_wrapper'], config['test_cfg']
    optim_wrapper['constructor'] = f'cmmasksd.{optim_wrapper["constructor"]}'
    assert test_cfg['type'] == 'cmmasksd.SplitTestLoop' and config['model']['neck']['type'] == 'cmmasksd.CrossModalFPN'
    return IMPORTS + Config(config | dict(default_scope=scope)).pretty_text


@pytest.mark.parametrize('scope', ['mmseg', 'thirdproject'])
def test_our_recipe_in_another_projects_scope(scope: str, shapes: Path, tmp_path: Path) -> None:
    """Trained, resumed and tested by mmseg's own tools, with custom_imports alone."""
    if scope == 'mmseg':
        require_mmseg()
    config, work_dir, log = tmp_path / 'theirs.py', tmp_path / 'work', tmp_path / 'output'
    config.write_text(whole_config(scope, shapes))
    do('train.py', config, '--work-dir', work_dir, '--cfg-options', 'train_cfg.max_epochs=1', log=log)
    if scope != 'mmseg':  # whose own runs are resumed below
        assert 'resumed epoch: 1' in do('train.py', config, '--work-dir', work_dir, '--resume', log=log)
    asked = ('--out', tmp_path / 'masks', '--show-dir', tmp_path / 'panels')
    last = (work_dir / 'last_checkpoint').read_text()
    printed = do('test.py', config, work_dir / last, '--work-dir', tmp_path / 'test', *asked, log=log)
    (count,) = re.findall(r'num_expressions: (\d+)', printed)
    masks = list((tmp_path / 'masks').glob('*.png'))
    assert len(masks) == int(count) > 0
    assert Image.open(masks[0]).mode == '1'
    assert list((tmp_path / 'panels').rglob('*.png'))


# --- our backbone in mmseg's segmentor --------------------------------------------------------------------------------

MMSEG = """
default_scope = 'mmseg'
norm = dict(type='BN')
architecture = dict(embed_dim=8, quick_gelu=True,
    vision_cfg=dict(image_size=32, patch_size=8, layers=3, width=16, head_width=8),
    text_cfg=dict(context_length=77, vocab_size=49408, layers=1, width=24, heads=3))
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', mean=[123.7, 116.3, 103.5], std=[58.4, 57.1, 57.4],
        bgr_to_rgb=True, size=(32, 32), seg_pad_val=255),
    backbone=dict(type='cmmasksd.OpenCLIPVisionTransformer', architecture=architecture, image_size=32),
    decode_head={head},
    {neck}
    train_cfg=dict(), test_cfg=dict(mode='whole'))
pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
train_dataloader = dict(batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='BaseSegDataset', data_root={root!r}, metainfo=dict(classes=('floor', 'wall')),
        data_prefix=dict(img_path='images', seg_map_path='maps'), pipeline=pipeline))
val_dataloader = test_dataloader = dict(train_dataloader, sampler=dict(type='DefaultSampler', shuffle=False))
val_evaluator = test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2)
val_cfg, test_cfg = dict(type='ValLoop'), dict(type='TestLoop')
optim_wrapper = dict(type='cmmasksd.AutocastOptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.01),
    constructor='cmmasksd.ReferringOptimWrapperConstructor', paramwise_cfg=dict(norm_decay_mult=0.0))
default_hooks = dict(checkpoint=dict(type='cmmasksd.AtomicCheckpointHook', interval=1, save_best='mIoU'),
    logger=dict(type='LoggerHook', interval=1), visualization=dict(type='SegVisualizationHook'))
custom_hooks = [dict(type=f'cmmasksd.{{name}}') for name in ('EpochSeedHook', 'NonFiniteLossHook', 'StrictLoadHook',
    'AverageStatisticsHook', 'MissedValidationHook', 'ResumeHook')]
visualizer = dict(type='SegLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')], name='visualizer')
"""
HEADS = {
    'FCNHead': (
        "dict(type='FCNHead', in_channels=8, in_index=2, num_convs=1, channels=8, num_classes=2, norm_cfg=norm)",
        '',
    ),
    'UPerHead': (
        "dict(type='UPerHead', in_channels=[8] * 3, in_index=[0, 1, 2], pool_scales=(1, 2), channels=8, num_classes=2, "
        'norm_cfg=norm)',
        "neck=dict(type='MultiLevelNeck', in_channels=[16, 16, 8], out_channels=8, scales=[2, 1, 0.5]),",
    ),
}


@pytest.fixture
def floors_and_walls(tmp_path: Path) -> Path:
    """Four pictures with maps of two classes, as mmseg's BaseSegDataset reads them."""
    rng = np.random.default_rng(0)
    for folder, ending in (('images', 'jpg'), ('maps', 'png')):
        (tmp_path / 'data' / folder).mkdir(parents=True)
        for number in range(4):
            pixels = rng.integers(0, 256, (32, 32, 3)) if folder == 'images' else np.tile(np.arange(32) // 16, (32, 1))
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / 'data' / folder / f'{number}.{ending}')
    return tmp_path / 'data'


@pytest.mark.parametrize('kind', HEADS)
def test_our_backbone_in_a_run_of_mmseg(kind: str, floors_and_walls: Path, tmp_path: Path) -> None:
    require_mmseg()
    head, neck = HEADS[kind]
    config, work_dir, log = tmp_path / 'theirs.py', tmp_path / 'work', tmp_path / 'output'
    config.write_text(IMPORTS + MMSEG.format(head=head, neck=neck, root=str(floors_and_walls)))
    do('train.py', config, '--work-dir', work_dir, '--cfg-options', 'train_cfg.max_epochs=1', log=log)
    do('train.py', config, '--work-dir', work_dir, '--resume', log=log)
    first, second = (load_checkpoint_file(work_dir / f'epoch_{number}.pth') for number in (1, 2))
    assert second['meta']['iter'] == 2 * first['meta']['iter'] == 4
    moved = [name for name, weight in first['state_dict'].items() if not weight.equal(second['state_dict'][name])]
    assert 'backbone.visual.conv1.weight' in moved and any(name.startswith('decode_head') for name in moved)
    printed = do('test.py', config, work_dir / 'epoch_2.pth', '--work-dir', tmp_path / 'test', log=log)
    assert 'mIoU: ' in printed
