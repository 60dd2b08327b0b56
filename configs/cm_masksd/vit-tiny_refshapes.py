# The quick start: CM-MaskSD with towers small enough to train from scratch on two CPU cores. Both branches at the
# paper's final setting.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/refshapes.py']

architecture = dict(
    embed_dim=96,
    quick_gelu=True,
    vision_cfg=dict(image_size=128, patch_size=16, layers=4, width=96, head_width=32),
    text_cfg=dict(context_length=77, vocab_size=49408, layers=2, width=96, heads=3),
)
model = dict(
    type='ReferringSegmentor',
    backbone=dict(type='OpenCLIPVisionTransformer', architecture=architecture, image_size=(128, 128)),
    text_encoder=dict(type='OpenCLIPTextTransformer', architecture=architecture),
    neck=dict(type='CrossModalFPN', in_channels=(96, 96, 96), text_channels=96, out_channels=(32, 64, 128)),
    decode_head=dict(
        type='VisionLanguageDecodeHead',
        channels=64,
        word_channels=96,
        text_channels=96,
        num_layers=2,
        num_heads=4,
        feedforward_channels=256,
        dropout=0.0,
    ),
    distillation=[dict(type='LMVSD'), dict(type='VMLSD')],
)
del architecture
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='ReferringOptimWrapperConstructor',
    optimizer=dict(type='Adam', lr=1e-3, betas=(0.9, 0.98), fused=True),
)
param_scheduler = [  # in iterations, whatever the loop; the cosine ends with the run
    dict(type='LinearLR', start_factor=1e-2, begin=0, end=100, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=0, by_epoch=False),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2, val_interval=1)
val_cfg = dict(type='ValLoop')
auto_scale_lr = dict(base_batch_size=16, enable=False)
