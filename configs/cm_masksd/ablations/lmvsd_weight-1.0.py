# Table 3a: loss weight of LMVSD.
_base_ = './lmvsd.py'
_base_.model.distillation[0].loss_weight = 1.0
test_cfg = dict(paper=dict(val={'Pr@0.5': 82.63, 'Pr@0.7': 72.53, 'Pr@0.9': 20.79, 'mIoU': 70.72}))
