# Table 4a: loss weight of VMLSD.
_base_ = './vmlsd.py'
_base_.model.distillation[0].loss_weight = 0.5
test_cfg = dict(paper=dict(val={'Pr@0.5': 82.34, 'Pr@0.7': 70.86, 'Pr@0.9': 18.52, 'mIoU': 70.02}))
