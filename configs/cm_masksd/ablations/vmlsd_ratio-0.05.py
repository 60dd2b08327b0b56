# Table 4b: mask ratio of VMLSD.
_base_ = './vmlsd.py'
_base_.model.distillation[0].mask_ratio = 0.05
test_cfg = dict(paper=dict(val={'Pr@0.5': 83.26, 'Pr@0.7': 71.93, 'Pr@0.9': 18.52, 'mIoU': 70.71}))
