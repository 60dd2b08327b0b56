# Table 3b: mask ratio of LMVSD.
_base_ = './lmvsd.py'
_base_.model.distillation[0].mask_ratio = 0.75
test_cfg = dict(paper=dict(val={'Pr@0.5': 82.78, 'Pr@0.7': 72.64, 'Pr@0.9': 20.00, 'mIoU': 70.79}))
