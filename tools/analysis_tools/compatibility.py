"""What mixes with what: python tools/analysis_tools/compatibility.py

Builds a small segmentor with each part, takes a training step with both distillation branches, predicts, and prints a
table; a cell that is empty says why. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.structures import InstanceData
from mmseg.structures import SegDataSample
from prettytable import PrettyTable
from torch import nn

from cmmasksd.models.building import build_part
from cmmasksd.structures import Letterbox

SIZE, TOKENS = 96, 9  # the input's side: a multiple of all strides and patches below
STAGES = ('builds', 'trains', 'predicts')
BATCH_NORM = dict(type='BN', requires_grad=True)
HRNET = {
    f'stage{number}': dict(
        num_modules=1,
        num_branches=number,
        block='BOTTLENECK' if number == 1 else 'BASIC',
        num_blocks=(1,) * number,
        num_channels=tuple(8 * 2**place for place in range(number)),
    )
    for number in (1, 2, 3, 4)
}
PLAIN = dict(img_size=SIZE, patch_size=16, embed_dims=32, num_layers=6, num_heads=4, out_indices=(1, 3, 5))
ARCHITECTURE = dict(
    embed_dim=8,
    quick_gelu=True,
    vision_cfg=dict(image_size=SIZE, patch_size=16, layers=3, width=16, head_width=8),
    text_cfg=dict(context_length=77, vocab_size=49408, layers=2, width=24, heads=3),
)

Config = dict[str, Any]

ENCODERS: dict[str, Config] = {
    'OpenCLIPVisionTransformer': dict(
        type='OpenCLIPVisionTransformer', architecture=ARCHITECTURE, image_size=(SIZE, SIZE)
    ),
    **{
        config['type'] if 'name' not in config else f'timm {config["name"]}': dict(
            type='ImageBackboneAdapter', backbone=config, image_size=SIZE, joint_channels=8
        )
        for config in (
            dict(type='mmseg.ResNet', depth=18),
            dict(type='mmseg.ResNetV1c', depth=18, norm_cfg=BATCH_NORM),
            dict(type='mmseg.ResNeSt', depth=50, stem_channels=64, radix=2, reduction_factor=4, avg_down_stride=True),
            dict(type='mmseg.HRNet', extra=HRNET),
            dict(type='mmseg.SwinTransformer', embed_dims=24, depths=(2,) * 4, num_heads=(1, 2, 4, 8), window_size=7),
            dict(type='mmseg.MixVisionTransformer', embed_dims=8, num_layers=[1] * 4, num_heads=[1, 2, 4, 8]),
            dict(type='mmseg.MSCAN', embed_dims=[8, 16, 32, 64], depths=[1] * 4, norm_cfg=BATCH_NORM),
            dict(type='mmseg.MobileNetV2', out_indices=(2, 4, 6)),
            dict(type='mmseg.PCPVT'),
            dict(type='mmseg.VisionTransformer', **PLAIN),
            dict(type='mmseg.BEiT', **PLAIN),
            dict(type='mmseg.TIMMBackbone', model_name='resnet18', features_only=True, pretrained=False),
            dict(type='TimmBackbone', name='resnet18'),
            dict(type='TimmBackbone', name='convnext_atto'),
            dict(type='TimmBackbone', name='efficientnet_b0'),
            dict(type='TimmBackbone', name='swin_tiny_patch4_window7_224', img_size=SIZE),
            dict(type='TimmBackbone', name='vit_tiny_patch16_224', img_size=SIZE),
        )
    },
}

HEADS: dict[str, Config] = {
    'VisionLanguageDecodeHead': dict(
        type='VisionLanguageDecodeHead',
        channels=16,
        word_channels=24,
        text_channels=8,
        num_layers=1,
        num_heads=2,
        feedforward_channels=32,
    ),
    **{
        config['type']: dict(type='DecodeHeadAdapter', decode_head=config, channels=16)
        for config in (
            dict(type='mmseg.FCNHead', norm_cfg=BATCH_NORM),
            dict(type='mmseg.ASPPHead', dilations=(1, 2), norm_cfg=BATCH_NORM),
            dict(type='mmseg.PSPHead', pool_scales=(1, 2), norm_cfg=BATCH_NORM),
            dict(type='mmseg.UPerHead', in_channels=[16], in_index=[0], norm_cfg=BATCH_NORM),
            dict(type='mmseg.SegformerHead', in_channels=[16], in_index=[0], norm_cfg=BATCH_NORM),
            dict(type='mmseg.PointHead', in_channels=[16], in_index=[0]),
        )
    },
}

LOSSES: dict[str, Any] = {
    'torch.BCEWithLogitsLoss': dict(type='torch.BCEWithLogitsLoss'),
    'mmseg.CrossEntropyLoss(use_sigmoid=True)': dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True),
    'mmseg.DiceLoss': dict(type='mmseg.DiceLoss'),
    'mmseg.FocalLoss': dict(type='mmseg.FocalLoss'),
    'mmseg.LovaszLoss': dict(type='mmseg.LovaszLoss', loss_type='binary', reduction='none'),
    'mmseg.TverskyLoss': dict(type='mmseg.TverskyLoss'),
    'BCE and Dice': [dict(type='torch.BCEWithLogitsLoss'), dict(type='mmseg.DiceLoss')],
}


def make_batch(training: bool) -> dict[str, Any]:
    """Two random pictures with three expressions in all."""
    torch.manual_seed(2)
    images, samples = [], []
    for count in (2, 1):
        images.append(torch.randint(0, 256, (3, SIZE, SIZE), dtype=torch.uint8))
        sample = SegDataSample(metainfo=dict(letterbox=Letterbox.fit((40, 30), (SIZE, SIZE))))
        ids = torch.zeros(count, TOKENS, dtype=torch.long)
        ids[:, :5] = torch.tensor([49406, 320, 736, 6631, 49407])
        masks = (torch.rand(count, SIZE, SIZE) > 0.5).float() if training else torch.rand(count, 40, 30) > 0.5
        sample.expressions = InstanceData(input_ids=ids, masks=masks)
        samples.append(sample)
    return dict(inputs=images, data_samples=samples)


def segmentor(encoder: Config, head: Config, loss: Any = None) -> nn.Module:
    """A segmentor of these parts; the neck follows the encoder's widths."""
    torch.manual_seed(1)
    widths = build_part(encoder).out_channels
    plain = len(set(widths[:2])) == 1  # one grid: a plain ViT
    neck = dict(type='CrossModalFPN', in_channels=widths, text_channels=8, out_channels=(8, 16, 32), scale_levels=plain)
    torch.manual_seed(1)
    return build_part(
        dict(
            type='ReferringSegmentor',
            backbone=encoder,
            text_encoder=dict(type='OpenCLIPTextTransformer', architecture=ARCHITECTURE),
            neck=neck,
            decode_head=dict(head, loss_decode=loss),
            distillation=[dict(type='LMVSD', loss_decode=loss), dict(type='VMLSD', loss_decode=loss)],
        )
    )


def trains(model: nn.Module) -> None:
    """One step: losses and gradients must be finite and reach the embeddings."""
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimiser = OptimWrapper(torch.optim.Adam(model.parameters(), lr=1e-3))
    losses = model.train().train_step(make_batch(training=True), optimiser)
    if not all(torch.as_tensor(loss).isfinite() for loss in losses.values()):
        raise ValueError(f'a loss is not finite: {losses}')
    moved = {name.split('.')[0] for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    still = {'backbone', 'text_encoder', 'neck', 'decode_head', 'distillation'} - moved
    if still:
        raise ValueError(f'nothing moved in {", ".join(sorted(still))}')


def predicts(model: nn.Module) -> None:
    """One evaluation at the pictures' own size."""
    shapes = [tuple(s.predictions.masks.shape) for s in model.eval().test_step(make_batch(training=False))]
    if shapes != [(2, 40, 30), (1, 40, 30)]:
        raise ValueError(f'masks of shapes {shapes}')


def try_out(make: Callable[[], nn.Module]) -> dict[str, str]:
    """``yes`` for each stage that works; at the first that does not, the reason."""
    cells = dict.fromkeys(STAGES, '')
    try:
        model = make()
        cells['builds'] = 'yes'
        for stage, work in (('trains', trains), ('predicts', predicts)):
            work(model)
            cells[stage] = 'yes'
    except Exception as error:  # whatever somebody's part does: the table is there to tell it
        cells[next(stage for stage in STAGES if not cells[stage])] = ' '.join(str(error).split())[:100]
    return cells


def rows() -> dict[str, Mapping[str, Callable[[], nn.Module]]]:
    """The table's groups: each part in place of ours, the others as they are."""
    ours, head = ENCODERS['OpenCLIPVisionTransformer'], HEADS['VisionLanguageDecodeHead']
    return {
        'image encoder': {name: (lambda c=config: segmentor(c, head)) for name, config in ENCODERS.items()},
        'decode head': {name: (lambda c=config: segmentor(ours, c)) for name, config in HEADS.items()},
        'loss': {name: (lambda c=config: segmentor(ours, head, c)) for name, config in LOSSES.items()},
    }


def main() -> None:
    argparse.ArgumentParser(description='Try out what mixes with what, and print a table.').parse_args()
    warnings.simplefilter('ignore')
    logging.disable(logging.WARNING)
    table, counts = PrettyTable(['part', 'is', *STAGES], align='l'), [0, 0]
    for part, makers in rows().items():
        for name, make in makers.items():
            cells = try_out(make)
            table.add_row([part, name, *cells.values()])
            counts[0] += all(cell == 'yes' for cell in cells.values())
            counts[1] += 1
    print(table.get_string())
    print(f'{counts[0]} of {counts[1]} combinations build, train and predict.')


if __name__ == '__main__':
    main()
