_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/schedules/adam_100e.py',
    '../_base_/datasets/refcocog_532x532.py',
    '../_base_/models/cm_masksd_vit-l-14.py',
]
# Table 1 (IoU, which is mIoU).
test_cfg = dict(paper=dict(val=dict(mIoU=66.53), test=dict(mIoU=66.63)))
