# Table 4b: mask ratio of VMLSD.
_base_ = './vmlsd.py'
_base_.model.distillation[0].mask_ratio = 0.5
test_cfg = dict(paper=dict(val={'Pr@0.5': 82.82, 'Pr@0.7': 71.92, 'Pr@0.9': 17.97, 'mIoU': 70.51}))
