# Table 4b: mask ratio of VMLSD.
_base_ = './vmlsd.py'
_base_.model.distillation[0].mask_ratio = 0.25
test_cfg = dict(paper=dict(val={'Pr@0.5': 82.72, 'Pr@0.7': 71.11, 'Pr@0.9': 18.17, 'mIoU': 70.43}))
