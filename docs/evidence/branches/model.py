# The benchmark's model and data for 750 steps, the branches from the first one, as in the paper. Nothing is chosen by
# validation: the last checkpoint is evaluated.
_base_ = 'cmmasksd::cm_masksd/vit-tiny_refshapes-benchmark.py'

train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=750, val_interval=10000)
val_cfg = val_dataloader = val_evaluator = None
test_cfg = dict(splits=['testA', 'testB', 'testC', 'testD'])
test_evaluator = dict(derangement=False, segmentation_errors=True)
log_processor = dict(by_epoch=False)
default_hooks = dict(
    checkpoint=dict(by_epoch=False, interval=250, save_best=None, max_keep_ckpts=1),
    logger=dict(log_metric_by_epoch=False),
)
custom_hooks = [hook for hook in _base_.custom_hooks if hook.type != 'LateDistillationHook']
