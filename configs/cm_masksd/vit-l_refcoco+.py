_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/schedules/adam_100e.py',
    '../_base_/datasets/refcoco+.py',
    '../_base_/models/cm_masksd_vit-l-14.py',
]
for loader in (_base_.train_dataloader, _base_.val_dataloader, _base_.test_dataloader):
    loader.dataset.pipeline[3].size = _base_.model.backbone.image_size  # 532x532
del loader
# Table 1 (IoU, which is mIoU).
test_cfg = dict(paper=dict(val=dict(mIoU=67.47), testA=dict(mIoU=71.80), testB=dict(mIoU=59.91)))
