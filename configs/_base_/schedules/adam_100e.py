# Sec. 4.2: Adam, batch 32 (8 GPUs x 4), learning rate 1e-5 for all parameters, weight decay 5e-4, 100 epochs: 10 of
# warm-up, then a cosine to the end of the run, which is train_cfg.max_epochs.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='ReferringOptimWrapperConstructor',
    optimizer=dict(type='Adam', lr=1e-5, weight_decay=5e-4, fused=True),
    paramwise_cfg=dict(head_lr_mult=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, begin=0, end=10, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=0, begin=10, convert_to_iter_based=True),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=100, val_interval=1)
val_cfg = dict(type='ValLoop')
auto_scale_lr = dict(base_batch_size=32, enable=False)
