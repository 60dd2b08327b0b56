# Table 4a: loss weight of VMLSD.
_base_ = './vmlsd.py'
_base_.model.distillation[0].loss_weight = 0.05
test_cfg = dict(paper=dict(val={'Pr@0.5': 82.76, 'Pr@0.7': 71.78, 'Pr@0.9': 18.73, 'mIoU': 70.58}))
