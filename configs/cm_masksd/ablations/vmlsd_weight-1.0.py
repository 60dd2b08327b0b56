# Table 4a: loss weight of VMLSD.
_base_ = './vmlsd.py'
_base_.model.distillation[0].loss_weight = 1.0
test_cfg = dict(paper=dict(val={'Pr@0.5': 81.07, 'Pr@0.7': 70.25, 'Pr@0.9': 17.76, 'mIoU': 69.28}))
