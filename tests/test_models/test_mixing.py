"""Components mix both ways: parts of mmseg and timm in our segmentor, our backbone in mmseg's."""

from __future__ import annotations

import copy
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import mmengine
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope
from mmengine.runner import load_checkpoint, save_checkpoint
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from cmmasksd.models import ImageBackboneAdapter
from cmmasksd.models.losses import MaskLoss
from cmmasksd.registry import MODELS
from cmmasksd.structures import VisualFeatures, gather_images

SIZE = 96  # a multiple of all strides, 32, and of all patches, 16
BATCH_NORM = dict(type='BN', requires_grad=True)
TINY = dict(window_size=7, embed_dims=24, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8))
PLAIN = dict(img_size=SIZE, patch_size=16, embed_dims=32, num_layers=6, num_heads=4, out_indices=(1, 3, 5))

# name -> the backbone's config, and the grids of its embeddings and of its patches
BACKBONES: dict[str, tuple[dict[str, Any], int, int]] = {
    'mmseg.ResNet': (dict(type='mmseg.ResNet', depth=18), 24, 3),
    'mmseg.ResNetV1c': (dict(type='mmseg.ResNetV1c', depth=18, norm_cfg=BATCH_NORM), 24, 3),
    'mmseg.SwinTransformer': (dict(type='mmseg.SwinTransformer', **TINY), 24, 3),
    'mmseg.MixVisionTransformer': (
        dict(type='mmseg.MixVisionTransformer', embed_dims=8, num_layers=[1] * 4, num_heads=[1, 2, 4, 8]),
        24,
        3,
    ),
    'mmseg.VisionTransformer': (dict(type='mmseg.VisionTransformer', **PLAIN), 6, 6),
    'mmseg.BEiT': (dict(type='mmseg.BEiT', **PLAIN), 6, 6),
    'mmseg.MSCAN': (
        dict(type='mmseg.MSCAN', embed_dims=[8, 16, 32, 64], depths=[1] * 4, drop_path_rate=0.0, norm_cfg=BATCH_NORM),
        24,
        3,
    ),
    'mmseg.TIMMBackbone': (
        dict(type='mmseg.TIMMBackbone', model_name='resnet18', features_only=True, pretrained=False),
        24,
        3,
    ),
    'timm resnet': (dict(type='TimmBackbone', name='resnet18'), 24, 3),
    'timm convnext': (dict(type='TimmBackbone', name='convnext_atto'), 24, 3),
    'timm swin': (dict(type='TimmBackbone', name='swin_tiny_patch4_window7_224', img_size=SIZE), 24, 3),
    'timm vit': (dict(type='TimmBackbone', name='vit_tiny_patch16_224', img_size=SIZE), 6, 6),
}

HEADS: dict[str, dict[str, Any]] = {
    'mmseg.FCNHead': dict(type='mmseg.FCNHead', num_convs=1, norm_cfg=BATCH_NORM),
    'mmseg.ASPPHead': dict(type='mmseg.ASPPHead', dilations=(1, 2), norm_cfg=BATCH_NORM),
    'mmseg.UPerHead': dict(type='mmseg.UPerHead', in_channels=[16], in_index=[0], norm_cfg=BATCH_NORM),
}

LOSSES: dict[str, Any] = {
    'torch.BCEWithLogitsLoss': dict(type='torch.BCEWithLogitsLoss', loss_weight=2.0),
    'mmseg.CrossEntropyLoss': dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True, avg_non_ignore=True),
    'mmseg.DiceLoss': dict(type='mmseg.DiceLoss'),
    'mmseg.FocalLoss': dict(type='mmseg.FocalLoss'),
    'mmseg.LovaszLoss': dict(type='mmseg.LovaszLoss', loss_type='binary', reduction='none'),
    'several': [dict(type='torch.BCEWithLogitsLoss'), dict(type='mmseg.DiceLoss', loss_weight=0.5)],
}


def require(config: object) -> None:
    """Skips where mmseg's models cannot be imported: the official ones need mmcv's compiled ops."""
    if 'mmseg.' in str(config):
        try:
            import_module('mmseg.models')
        except ImportError as error:
            pytest.skip(f"mmseg.models needs mmcv's compiled ops, which are absent here ({error})")


@pytest.fixture
def mixed(tiny_config: Callable[..., dict[str, Any]]) -> Callable[..., nn.Module]:
    """``mixed(backbone=..., decode_head=..., ...)``: the tiny segmentor with other parts, at 96 x 96."""

    def make(
        backbone: dict[str, Any] | None = None,
        decode_head: dict[str, Any] | None = None,
        loss_decode: Any = None,
        **options: Any,
    ) -> nn.Module:
        config = tiny_config(**options)
        config['decode_head'] = decode_head or dict(config['decode_head'], loss_decode=loss_decode)
        config['backbone']['image_size'] = SIZE
        if backbone is not None:
            config['backbone'] = dict(
                type='cmmasksd.ImageBackboneAdapter', backbone=backbone, image_size=SIZE, joint_channels=8
            )
            torch.manual_seed(1)
            widths = MODELS.build(config['backbone']).out_channels
            config['neck'].update(in_channels=widths, scale_levels=len(set(widths[:2])) == 1)
        torch.manual_seed(1)
        return MODELS.build(config)

    return make


def check_the_whole_life(model: nn.Module, make_batch: Callable[..., dict], names: set[str], folder: Path) -> None:
    """A step with finite losses and gradients, a prediction, a checkpoint and its resumption."""
    batch = make_batch((2, 1), size=(SIZE, SIZE))
    losses = model.train()(**model.data_preprocessor(copy.deepcopy(batch), True), mode='loss')
    assert set(losses) == names and all(loss.isfinite() and loss.shape == () for loss in losses.values())
    sum(losses.values()).backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not [name for name in without if not is_unused(name)], without
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    model.train_step(batch, OptimWrapper(torch.optim.Adam(model.parameters(), lr=1e-3)))
    moved = [name for name, p in model.named_parameters() if not torch.equal(p, before[name])]
    assert any(name.startswith('backbone.') for name in moved) and any(name.startswith('neck.') for name in moved)
    evaluation = make_batch((2, 1), training=False, size=(SIZE, SIZE))
    samples = model.eval().test_step(copy.deepcopy(evaluation))
    assert [tuple(sample.predictions.masks.shape) for sample in samples] == [(2, 40, 30), (1, 41, 30)]
    save_checkpoint(dict(state_dict=model.state_dict(), meta={}), str(folder / 'model.pth'))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    load_checkpoint(model, str(folder / 'model.pth'), strict=True)
    again = model.test_step(copy.deepcopy(evaluation))
    for sample, other in zip(samples, again, strict=True):
        torch.testing.assert_close(sample.predictions.probabilities, other.predictions.probabilities)


def is_unused(name: str) -> bool:
    """Parameters that their own projects do not use for feature maps: norms and heads of outputs not asked for."""
    return any(part in name for part in ('backbone.backbone.norm', 'backbone.model.norm', 'fc', 'head.conv_seg'))


BOTH = {'loss_seg', 'loss_lmvsd', 'loss_vmlsd'}


@pytest.mark.parametrize('name', BACKBONES)
def test_their_backbones_in_our_segmentor(mixed, make_batch, tmp_path, name) -> None:
    config, fine, coarse = BACKBONES[name]
    require(config)
    model = mixed(backbone=config)
    adapter = model.backbone
    assert (adapter.stem.grid_size, adapter.grid_size) == ((fine, fine), (coarse, coarse))
    assert model.distillation['lmvsd'].mask_token.shape == (adapter.embed_dims,)
    check_the_whole_life(model, make_batch, BOTH, tmp_path)


@pytest.mark.parametrize('name', BACKBONES)
@torch.no_grad()
def test_an_adapted_backbone_is_the_backbone_itself(name) -> None:
    """In two parts it gives what it gives in one, bit for bit; and its modules are themselves again afterwards."""
    config, _, coarse = BACKBONES[name]
    require(config)
    torch.manual_seed(0)
    adapter = ImageBackboneAdapter(copy.deepcopy(config), image_size=SIZE, joint_channels=8).eval()
    images = torch.randn(2, 3, SIZE, SIZE)
    whole = adapter(images)
    features = adapter.encode_image(adapter.embed_image(images))
    for level, index in zip(features.levels[:2], adapter.out_indices):
        assert torch.equal(level, whole[index])
    deepest = whole[adapter.out_indices[2]].flatten(2).transpose(1, 2)
    torch.testing.assert_close(features.patches, adapter.projection(deepest))
    torch.testing.assert_close(features.levels[2].flatten(2).transpose(1, 2), features.patches)
    torch.testing.assert_close(features.pooled, features.patches.mean(dim=1))
    assert torch.equal(adapter(images)[0], whole[0])
    assert features.patches.shape == (2, coarse**2, 8)


@pytest.mark.parametrize('name', BACKBONES)
@torch.no_grad()
def test_a_mask_lies_on_the_same_place_of_both_grids(name) -> None:
    """The masked part of the picture changes, and through a few layers nothing far away."""
    config, fine, coarse = BACKBONES[name]
    require(config)
    torch.manual_seed(0)
    adapter = ImageBackboneAdapter(copy.deepcopy(config), image_size=SIZE, joint_channels=8).eval()
    masked = torch.zeros(1, coarse, coarse, dtype=torch.bool)
    masked[0, 0, coarse - 1] = True  # the upper right corner
    spread = adapter.spread_mask(masked.flatten(1)).view(fine, fine)
    share = fine // coarse
    assert spread.sum() == share**2 and spread[:share, fine - share :].all()
    images = torch.randn(1, 3, SIZE, SIZE)
    other = images.clone()
    other[..., : SIZE // coarse, SIZE - SIZE // coarse :] += 1  # the same place, in pixels
    changed = (adapter.embed_image(images) != adapter.embed_image(other)).any(dim=2).view(fine, fine)
    overlap = (changed & spread).sum() / spread.sum()
    assert overlap > 0.9 and (changed & ~spread).sum() <= 0.5 * spread.sum() + 2 * fine


@pytest.mark.parametrize('shared', [True, False])
@pytest.mark.parametrize('name', HEADS)
def test_their_heads_in_our_segmentor(mixed, make_batch, tmp_path, name, shared) -> None:
    require(name)
    head = dict(type='cmmasksd.DecodeHeadAdapter', decode_head=HEADS[name], channels=16)
    branches = [dict(type='cmmasksd.LMVSD', shared=shared), dict(type='cmmasksd.VMLSD', shared=shared)]
    model = mixed(distillation=branches, decode_head=head)
    assert not model.joint_branches  # mmseg's batch norms know no branches: each has a pass of its own
    check_the_whole_life(model, make_batch, BOTH, tmp_path)


@pytest.mark.parametrize('name', LOSSES)
def test_losses_of_head_and_branches(mixed, make_batch, tmp_path, name) -> None:
    require(LOSSES[name])
    branches = [dict(type='cmmasksd.LMVSD', loss_decode=LOSSES[name]), dict(type='cmmasksd.VMLSD')]
    model = mixed(distillation=branches, loss_decode=LOSSES[name])
    suffixes = ('_bce', '_dice') if name == 'several' else ('',)
    names = {f'loss_{part}{suffix}' for part in ('seg', 'lmvsd') for suffix in suffixes}
    check_the_whole_life(model, make_batch, names | {'loss_vmlsd'}, tmp_path)


@pytest.mark.parametrize('name', LOSSES)
def test_losses_fall_towards_the_mask(name) -> None:
    require(LOSSES[name])
    loss = MaskLoss(LOSSES[name])
    target = (torch.rand(2, 1, 8, 8) > 0.6).float()
    logits = nn.Parameter(torch.zeros(2, 1, 8, 8))
    optimiser = torch.optim.Adam([logits], lr=0.3)
    first = sum(loss(logits, target, 'loss').values()).item()
    for _ in range(60):
        optimiser.zero_grad()
        sum(loss(logits, target, 'loss').values()).backward()
        optimiser.step()
    assert sum(loss(logits, target, 'loss').values()) < 0.5 * first
    assert torch.equal(logits > 0, target > 0.5)


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        ([], 'names no loss'),
        (dict(type='torch.Linear', in_features=1, out_features=1), "torch.nn has no loss 'Linear'"),
        ([dict(type='torch.MSELoss'), dict(type='torch.MSELoss')], "names 'torch.MSELoss' twice"),
        (dict(type='torch.CrossEntropyLoss'), 'learn nothing'),
        (dict(type='mmseg.TverskyLoss'), 'learn nothing'),
        (dict(type='mmseg.CrossEntropyLoss'), 'does not take logits of one channel'),
    ],
)
def test_losses_that_cannot_work(config, message) -> None:
    require(config)
    with pytest.raises(ValueError, match=message):
        MaskLoss(config)


def test_a_stem_of_no_known_kind() -> None:
    with pytest.raises(ValueError, match=r"stem of TimmBackbone is of no known kind.*stem=\('conv1', ...\)"):
        ImageBackboneAdapter(dict(type='TimmBackbone', name='dm_nfnet_f0'), image_size=SIZE)
    with pytest.raises(ValueError, match="no module 'conv9'"):
        ImageBackboneAdapter(dict(type='TimmBackbone', name='resnet18'), image_size=SIZE, stem=('conv9',))


def test_wrong_sizes_and_levels() -> None:
    adapter = ImageBackboneAdapter(dict(type='TimmBackbone', name='resnet18'), image_size=SIZE)
    for verb in (adapter, adapter.embed_image):
        with pytest.raises(ValueError, match=r'built for inputs of \(96, 96\), got \(64, 96\)'):
            verb(torch.randn(1, 3, 64, 96))
    with pytest.raises(ValueError, match='gives 2 maps'):
        ImageBackboneAdapter(dict(type='TimmBackbone', name='resnet18', out_indices=(3, 4)), image_size=SIZE)
    with pytest.raises(ValueError, match="timm has no model 'resnet19'"):
        ImageBackboneAdapter(dict(type='TimmBackbone', name='resnet19'), image_size=SIZE)


# --- features that depend on the sentence -----------------------------------------------------------------------------


class SentenceModulated(nn.Module):
    """An image encoder that lets the sentence in early: it scales the embeddings of ours, as LAVT's gates would."""

    needs_text = True

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.gate = inner, nn.Linear(8, 16)
        self.embed_dims, self.out_channels = inner.embed_dims, inner.out_channels
        self.embed_image, self.spread_mask = inner.embed_image, inner.spread_mask

    def encode_image(self, patch_embeddings: Tensor, text: Any = None, image_index: Tensor | None = None):
        own = gather_images(patch_embeddings, image_index)
        features = self.inner.encode_image(own * (1 + self.gate(text.sentence)[:, None]))
        assert len(features.patches) == len(text.sentence)
        return VisualFeatures(features.levels, features.patches, features.pooled)


@pytest.fixture
def modulated(mixed) -> Callable[..., nn.Module]:
    def make(**options: Any) -> nn.Module:
        model = mixed(**options)
        torch.manual_seed(5)
        model.backbone = SentenceModulated(model.backbone)
        return model

    return make


@pytest.mark.parametrize('shared', [True, False])
def test_text_that_goes_in_early(modulated, make_batch, tmp_path, shared) -> None:
    branches = [dict(type='cmmasksd.LMVSD', shared=shared), dict(type='cmmasksd.VMLSD', shared=shared)]
    model = modulated(distillation=branches)
    assert model.image_needs_text
    check_the_whole_life(model, make_batch, BOTH, tmp_path)


@pytest.mark.parametrize('chunk', [1, 2, 16])
@torch.no_grad()
def test_early_text_is_each_expressions_own(modulated, make_batch, chunk) -> None:
    """Several expressions of an image, in whatever chunks, get what each would get alone."""
    model = modulated(expressions_per_chunk=chunk).eval()
    batch = make_batch((3, 2), training=False, size=(SIZE, SIZE))
    together = [maps for sample in model.test_step(copy.deepcopy(batch)) for maps in sample.predictions.probabilities]
    alone = []
    for image, sample in zip(batch['inputs'], batch['data_samples']):
        for place in range(len(sample.expressions)):
            single = copy.deepcopy(sample)
            single.expressions = sample.expressions[place : place + 1]
            (result,) = model.test_step(dict(inputs=[image], data_samples=[single]))
            alone.append(result.predictions.probabilities[0])
    assert len(together) == len(alone) == 5
    for one, other in zip(together, alone):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('shared', [True, False])
@torch.no_grad()
def test_vmlsd_encodes_the_image_anew_where_it_depends_on_the_sentence(modulated, make_batch, shared) -> None:
    model = modulated(distillation=[dict(type='cmmasksd.VMLSD', shared=shared)]).eval()
    data = model.data_preprocessor(make_batch((2, 1), size=(SIZE, SIZE)), True)
    main = model.encode(data['inputs'], data['input_ids'], data['image_index'])
    assert main.image_index is None and len(main.visual.pooled) == 3 and len(main.patch_embeddings) == 2
    branch = model.distillation['vmlsd']
    student = branch.student(model, main)
    visual = model.encode_image(main.patch_embeddings, student.text, main.embedding_index)
    for found, expected in zip(student.projected, model.project(visual, branch.neck), strict=True):
        torch.testing.assert_close(found, expected)
    assert not torch.equal(student.projected[2], model.project(main.visual, branch.neck)[2])


# --- ours in theirs ---------------------------------------------------------------------------------------------------


def encoder_decoder(backbone: dict[str, Any], **parts: Any) -> nn.Module:
    with DefaultScope.overwrite_default_scope('mmseg'):
        from mmseg.registry import MODELS as THEIRS

        config = dict(
            type='EncoderDecoder',
            data_preprocessor=dict(type='SegDataPreProcessor', size=(SIZE, SIZE)),
            backbone=backbone,
            train_cfg=dict(),
            test_cfg=ConfigDict(mode='whole'),
            **parts,
        )
        return THEIRS.build(config)


@pytest.mark.parametrize('kind', ['FCNHead', 'UPerHead'])
def test_our_backbone_in_mmsegs_segmentor(tiny_architecture, tmp_path, kind) -> None:
    require('mmseg.EncoderDecoder')
    backbone = dict(type='cmmasksd.OpenCLIPVisionTransformer', architecture=tiny_architecture, image_size=SIZE)
    head: dict[str, Any] = dict(type=kind, channels=8, num_classes=5, norm_cfg=BATCH_NORM)
    neck = None
    if kind == 'FCNHead':
        head.update(in_channels=8, in_index=2, num_convs=1)
    else:
        neck = dict(type='MultiLevelNeck', in_channels=[16, 16, 8], out_channels=8, scales=[2, 1, 0.5])
        head.update(in_channels=[8, 8, 8], in_index=[0, 1, 2], pool_scales=(1, 2))
    model = encoder_decoder(backbone, decode_head=head, **(dict(neck=neck) if neck else {}))
    model.init_weights()
    assert model.backbone.out_channels == (16, 16, 8)
    samples = []
    for _ in range(2):
        sample = SegDataSample(metainfo=dict(ori_shape=(SIZE, SIZE), img_shape=(SIZE, SIZE), pad_shape=(SIZE, SIZE)))
        sample.gt_sem_seg = PixelData(data=torch.randint(0, 5, (1, SIZE, SIZE)))
        samples.append(sample)
    images = [torch.randint(0, 256, (3, SIZE, SIZE), dtype=torch.uint8) for _ in samples]
    batch = dict(inputs=images, data_samples=samples)
    before = model.backbone.visual.conv1.weight.detach().clone()
    losses = model.train().train_step(copy.deepcopy(batch), OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1)))
    assert losses['decode.loss_ce'].isfinite() and not torch.equal(model.backbone.visual.conv1.weight, before)
    (first, _) = model.eval().test_step(copy.deepcopy(batch))
    assert first.pred_sem_seg.data.shape == (1, SIZE, SIZE)
    save_checkpoint(dict(state_dict=model.state_dict(), meta={}), str(tmp_path / 'model.pth'))
    load_checkpoint(model, str(tmp_path / 'model.pth'), strict=True)
    assert mmengine.is_seq_of(model.backbone(torch.randn(1, 3, SIZE, SIZE)), Tensor)
