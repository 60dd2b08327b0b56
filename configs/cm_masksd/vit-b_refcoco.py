_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/schedules/adam_100e.py',
    '../_base_/datasets/refcoco.py',
    '../_base_/models/cm_masksd_vit-b-16.py',
]
# Table 1 (IoU, which is mIoU).
test_cfg = dict(paper=dict(val=dict(mIoU=72.18), testA=dict(mIoU=75.21), testB=dict(mIoU=67.91)))
