# Table 5: VMLSD alone, shared.
_base_ = './vmlsd.py'
_base_.model.distillation[0].shared = True
test_cfg = dict(paper=dict(val={'Pr@0.5': 83.29, 'Pr@0.7': 71.80, 'Pr@0.9': 18.28, 'mIoU': 70.88}))
