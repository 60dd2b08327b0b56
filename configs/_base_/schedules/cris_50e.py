# CRIS's config files: Adam, batch 64 (8 GPUs x 8), 50 epochs, learning rate 1e-4 for what is new and for positions, a
# tenth of it for CLIP's towers, both a tenth after 35 epochs; no weight decay, no warm-up.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='ReferringOptimWrapperConstructor',
    optimizer=dict(type='Adam', lr=1e-5, fused=True),
    paramwise_cfg=dict(head_lr_mult=10.0, custom_keys=dict(positional_embedding=dict(lr_mult=10.0))),
)
param_scheduler = [dict(type='MultiStepLR', milestones=[35], gamma=0.1)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=50, val_interval=1)
val_cfg = dict(type='ValLoop')
auto_scale_lr = dict(base_batch_size=64, enable=False)
