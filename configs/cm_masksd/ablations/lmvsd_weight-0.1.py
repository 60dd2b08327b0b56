# Table 3a: loss weight of LMVSD.
_base_ = './lmvsd.py'
_base_.model.distillation[0].loss_weight = 0.1
test_cfg = dict(paper=dict(val={'Pr@0.5': 83.20, 'Pr@0.7': 71.88, 'Pr@0.9': 19.40, 'mIoU': 70.93}))
