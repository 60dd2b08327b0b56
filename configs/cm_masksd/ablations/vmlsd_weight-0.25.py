# Table 4a: loss weight of VMLSD.
_base_ = './vmlsd.py'
_base_.model.distillation[0].loss_weight = 0.25
test_cfg = dict(paper=dict(val={'Pr@0.5': 83.02, 'Pr@0.7': 71.40, 'Pr@0.9': 18.69, 'mIoU': 70.41}))
