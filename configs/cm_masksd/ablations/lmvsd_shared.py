# Table 5: LMVSD alone, shared.
_base_ = './lmvsd.py'
_base_.model.distillation[0].shared = True
test_cfg = dict(paper=dict(val={'Pr@0.5': 83.47, 'Pr@0.7': 73.02, 'Pr@0.9': 18.53, 'mIoU': 71.13}))
