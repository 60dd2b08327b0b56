# Table 4b: mask ratio of VMLSD.
_base_ = './vmlsd.py'
_base_.model.distillation[0].mask_ratio = 0.75
test_cfg = dict(paper=dict(val={'Pr@0.5': 82.67, 'Pr@0.7': 71.31, 'Pr@0.9': 18.24, 'mIoU': 70.54}))
