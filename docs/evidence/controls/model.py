# As branches/model.py with the quick start's towers, so that a run takes two or three minutes of one core: 128x128,
# patches of 16, 900 steps of 4 pictures.
_base_ = 'cmmasksd::cm_masksd/vit-tiny_refshapes-benchmark.py'

vision = dict(image_size=128, patch_size=16)
model = dict(
    backbone=dict(architecture=dict(vision_cfg=vision), image_size=(128, 128)),
    text_encoder=dict(architecture=dict(vision_cfg=vision)),
)
del vision
for loader in (_base_.train_dataloader, _base_.test_dataloader):
    loader.dataset.pipeline[3].size = (128, 128)
del loader
train_dataloader = dict(batch_size=4)
optim_wrapper = dict(optimizer=dict(lr=6e-4))
auto_scale_lr = dict(base_batch_size=4)
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=900, val_interval=10000)
val_cfg = val_dataloader = val_evaluator = None
test_cfg = dict(splits=['testA', 'testB', 'testC', 'testD'])
test_evaluator = dict(derangement=False, segmentation_errors=True)
log_processor = dict(by_epoch=False)
default_hooks = dict(
    checkpoint=dict(by_epoch=False, interval=300, save_best=None, max_keep_ckpts=1),
    logger=dict(log_metric_by_epoch=False),
)
custom_hooks = [hook for hook in _base_.custom_hooks if hook.type != 'LateDistillationHook']
