# ETRIS's config files: Adam, batch 32, 50 epochs, learning rate 1e-4, a tenth of it after 35 epochs; of CLIP's towers
# the positions alone are trained; no weight decay, no warm-up.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='ReferringOptimWrapperConstructor',
    optimizer=dict(type='Adam', lr=1e-4, fused=True),
    paramwise_cfg=dict(
        custom_keys=dict(backbone=dict(lr_mult=0), text_encoder=dict(lr_mult=0), positional_embedding=dict(lr_mult=1.0))
    ),
)
param_scheduler = [dict(type='MultiStepLR', milestones=[35], gamma=0.1)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=50, val_interval=1)
val_cfg = dict(type='ValLoop')
auto_scale_lr = dict(base_batch_size=32, enable=False)
