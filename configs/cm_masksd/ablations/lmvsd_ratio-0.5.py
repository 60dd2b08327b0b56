# Table 3b: mask ratio of LMVSD.
_base_ = './lmvsd.py'
_base_.model.distillation[0].mask_ratio = 0.5
test_cfg = dict(paper=dict(val={'Pr@0.5': 83.37, 'Pr@0.7': 73.34, 'Pr@0.9': 20.27, 'mIoU': 71.24}))
