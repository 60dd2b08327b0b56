# Table 3a: loss weight of LMVSD.
_base_ = './lmvsd.py'
_base_.model.distillation[0].loss_weight = 0.25
test_cfg = dict(paper=dict(val={'Pr@0.5': 83.73, 'Pr@0.7': 73.03, 'Pr@0.9': 19.74, 'mIoU': 71.36}))
