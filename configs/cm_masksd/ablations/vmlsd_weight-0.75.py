# Table 4a: loss weight of VMLSD.
_base_ = './vmlsd.py'
_base_.model.distillation[0].loss_weight = 0.75
test_cfg = dict(paper=dict(val={'Pr@0.5': 81.12, 'Pr@0.7': 69.92, 'Pr@0.9': 18.17, 'mIoU': 69.47}))
