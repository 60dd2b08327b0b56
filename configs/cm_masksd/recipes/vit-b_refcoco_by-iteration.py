# The paper's 100 epochs counted in iterations, of which RefCOCO's 42,404 refs make 1,325 an epoch: endless batches,
# validated and saved every 2,650.
_base_ = '../vit-b_refcoco.py'
train_dataloader = dict(sampler=dict(type='InfiniteSampler', shuffle=True))
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=132_500, val_interval=2_650)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, begin=0, end=13_250, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=0, begin=13_250, by_epoch=False),
]
default_hooks = dict(
    logger=dict(log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=2_650),
)
log_processor = dict(by_epoch=False)
