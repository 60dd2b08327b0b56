# Table 3a: loss weight of LMVSD.
_base_ = './lmvsd.py'
_base_.model.distillation[0].loss_weight = 0.5
test_cfg = dict(paper=dict(val={'Pr@0.5': 83.51, 'Pr@0.7': 72.61, 'Pr@0.9': 19.13, 'mIoU': 71.17}))
