_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/schedules/adam_100e.py',
    '../_base_/datasets/refcocog.py',
    '../_base_/models/cm_masksd_vit-b-16.py',
]
# Table 1 (IoU, which is mIoU).
test_cfg = dict(paper=dict(val=dict(mIoU=62.67), test=dict(mIoU=62.69)))
