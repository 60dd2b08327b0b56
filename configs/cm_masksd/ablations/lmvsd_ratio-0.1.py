# Table 3b: mask ratio of LMVSD.
_base_ = './lmvsd.py'
_base_.model.distillation[0].mask_ratio = 0.1
test_cfg = dict(paper=dict(val={'Pr@0.5': 83.18, 'Pr@0.7': 73.39, 'Pr@0.9': 19.83, 'mIoU': 71.12}))
