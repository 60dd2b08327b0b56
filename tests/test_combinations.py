"""New configs, each of parts that nothing else combines: trained, stopped, resumed and tested by the tools."""

from __future__ import annotations

import json
import math
from importlib import import_module
from pathlib import Path

import pytest

from cmmasksd.checkpoints import load_checkpoint_file
from cmmasksd.datasets.refshapes import make_refshapes
from tests.forking import run, tool
from tests.test_tools.running import CONFIG, ROOT

pytestmark = pytest.mark.slow

COMMON = """
_base_ = [{base!r}]
for loader in (_base_.train_dataloader, _base_.val_dataloader, _base_.test_dataloader):
    loader.dataset.data_root = {root!r}
    loader.dataset.pipeline[4].update({tokens!r})
del loader
_base_.train_dataloader.batch_size = 2
_base_.train_dataloader.dataset.indices = 4
_base_.val_dataloader.dataset.indices = _base_.test_dataloader.dataset.indices = 2
_base_.test_cfg.splits = ['val']
_base_.param_scheduler[0].end = 2
train_cfg = dict(max_epochs=2)


def adapted(backbone):
    return dict(_delete_=True, type='ImageBackboneAdapter', backbone=backbone, image_size=128, joint_channels=96)


def language_model(**config):
    sizes = dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=64)
    return dict(
        _delete_=True,
        type='HuggingFaceTextEncoder',
        name_or_path=dict(**config) if config['model_type'] == 't5' else dict(sizes, **config),
        joint_channels=96,
    )


def head_of(decode_head, **options):
    return dict(_delete_=True, type='DecodeHeadAdapter', decode_head=decode_head, channels=64, **options)


norm = dict(type='BN', requires_grad=True)
neck = dict(scale_levels=False)
dice_and_focal = [dict(type='mmseg.DiceLoss'), dict(type='mmseg.FocalLoss', loss_weight=5.0)]
"""
END = 'del adapted, language_model, head_of, norm, dice_and_focal\n'
CONFIGS = {
    'ConvNeXt, BERT, FCNHead, Dice and focal, LMVSD, average, accumulation, bfloat16': """
model = dict(
    backbone=adapted(dict(type='TimmBackbone', name='convnext_atto')),
    text_encoder=language_model(model_type='bert', vocab_size=120),
    neck=dict(neck, in_channels=(80, 160, 96)),
    decode_head=head_of(dict(type='mmseg.FCNHead', norm_cfg=norm), loss_decode=dice_and_focal),
    distillation=[dict(type='LMVSD', loss_decode=dice_and_focal)],
    precision='bfloat16',
)
optim_wrapper = dict(type='AutocastOptimWrapper', accumulative_counts=2)
default_hooks = dict(ema=dict(type='EMAHook', momentum=0.1, update_buffers=True))
""",
    'Swin of mmseg, CLIP text, own head, VMLSD unshared, Lovasz, clipped, by iteration': """
model = dict(
    backbone=adapted(
        dict(type='mmseg.SwinTransformer', embed_dims=24, depths=(2,) * 4, num_heads=(1, 2, 4, 8), window_size=4)
    ),
    neck=dict(neck, in_channels=(48, 96, 96)),
    decode_head=dict(loss_decode=[dict(type='torch.BCEWithLogitsLoss'), dict(type='mmseg.LovaszLoss',
        loss_type='binary', reduction='none')]),
    distillation=[dict(type='VMLSD', shared=False, maskable='sequence')],
)
optim_wrapper = dict(clip_grad=dict(max_norm=1.0), paramwise_cfg=dict(head_lr_mult=10, norm_decay_mult=0.0),
    optimizer=dict(weight_decay=0.01))
train_dataloader = dict(sampler=dict(type='InfiniteSampler', shuffle=True))
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=4, val_interval=2)
default_hooks = dict(logger=dict(log_metric_by_epoch=False), checkpoint=dict(by_epoch=False, interval=2))
log_processor = dict(by_epoch=False)
""",
    'ResNet, T5, SegformerHead, focal, LMVSD unshared, repeated data, frozen text': """
model = dict(
    backbone=adapted(dict(type='mmseg.ResNetV1c', depth=18, norm_cfg=norm)),
    text_encoder=language_model(model_type='t5', d_model=48, d_kv=8, d_ff=64, num_layers=2, num_heads=3,
        vocab_size=120),
    neck=dict(neck, in_channels=(128, 256, 96)),
    decode_head=head_of(dict(type='mmseg.SegformerHead', in_channels=[64], in_index=[0], norm_cfg=norm)),
    distillation=[dict(type='LMVSD', shared=False, loss_decode=dict(type='mmseg.FocalLoss')), dict(type='VMLSD')],
)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(text_encoder=dict(lr_mult=0))))
_base_.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=_base_.train_dataloader.dataset)
""",
    'open_clip with a trunk of timm, RoBERTa, UPerHead, Dice, layer-wise decay, recomputed layers, SGD': """
trunk = dict(timm_model_name='vit_tiny_patch16_224', timm_pool='token', timm_proj='linear', image_size=128)
model = dict(
    backbone=dict(architecture=dict(vision_cfg=dict(_delete_=True, **trunk)), activation_checkpointing=True),
    text_encoder=language_model(model_type='roberta', vocab_size=320, pad_token_id=1, bos_token_id=0, eos_token_id=2),
    neck=dict(in_channels=(192, 192, 96)),
    decode_head=head_of(
        dict(type='mmseg.UPerHead', in_channels=[64], in_index=[0], norm_cfg=norm),
        loss_decode=dict(type='mmseg.DiceLoss'),
    ),
    joint_branches=False,
)
del trunk
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='SGD', lr=0.01, momentum=0.9), paramwise_cfg=dict(layer_decay_rate=0.8)
)
""",
    'MiT, CLIP text, PSPHead, cross-entropy of mmseg, two data sets joined, stochastic weight average': """
model = dict(
    backbone=adapted(
        dict(type='mmseg.MixVisionTransformer', embed_dims=8, num_layers=[1] * 4, num_heads=[1, 2, 4, 8])
    ),
    neck=dict(neck, in_channels=(16, 32, 96)),
    decode_head=head_of(
        dict(type='mmseg.PSPHead', pool_scales=(1, 2), norm_cfg=norm),
        loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True),
    ),
    expressions_per_chunk=1,
)
default_hooks = dict(ema=dict(type='EMAHook', ema_type='StochasticWeightAverage', begin_epoch=1))
other = dict(_base_.train_dataloader.dataset, split='val')
_base_.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[_base_.train_dataloader.dataset, other])
del other
""",
}


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('data')
    make_refshapes(root, num_images=20, seed=3)
    return root


def tokens(text: str, folder: Path) -> dict[str, str]:
    """The tokenizer that a config's text encoder reads."""
    for kind in ('bert', 't5', 'roberta'):
        if f"model_type='{kind}'" in text:
            pytest.importorskip('transformers')
            return {'tokenizer': getattr(import_module('tests.tokenizer_folders'), f'{kind}_like')(folder / kind)}
    return {}


@pytest.mark.parametrize('name', CONFIGS)
def test_a_new_config_lives(name: str, root: Path, tmp_path: Path) -> None:
    text = CONFIGS[name]
    if 'mmseg.' in text:
        try:
            import_module('mmseg.models')
        except ImportError as error:
            pytest.skip(f"mmseg.models needs mmcv's compiled ops, which are absent here ({error})")
    config, log, work_dir = tmp_path / 'new.py', tmp_path / 'output', tmp_path / 'work'
    base = COMMON.format(base=str(ROOT / CONFIG), root=str(root), tokens=tokens(text, tmp_path))
    config.write_text(f'{base}{text}del neck\n{END}')

    def do(script: str, *arguments: object) -> None:
        assert run(tool, script, *arguments, log=log) == 0, log.read_text()[-4000:]

    stop = ['train_cfg.max_iters=2', 'param_scheduler.0.end=2'] if 'max_iters' in text else ['train_cfg.max_epochs=1']
    do('tools/train.py', config, '--work-dir', work_dir, '--cfg-options', *stop)
    do('tools/train.py', config, '--work-dir', work_dir, '--resume')
    last = (work_dir / 'last_checkpoint').read_text()
    assert last in ('epoch_2.pth', 'iter_4.pth')
    assert load_checkpoint_file(work_dir / last)['meta']['iter'] >= 4
    do('tools/test.py', config, work_dir / last, '--work-dir', work_dir, '--out', tmp_path / 'metrics.json')
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    assert metrics['val/num_expressions'] > 0 and math.isfinite(metrics['val/mIoU'])
