# Table 4b: mask ratio of VMLSD.
_base_ = './baseline.py'
model = dict(
    distillation=[dict(type='VMLSD', top_k=0.5, mask_ratio=0.25, loss_weight=0.1, shared=False, rounding='stochastic')]
)
test_cfg = dict(paper=dict(val={'Pr@0.5': 82.72, 'Pr@0.7': 71.11, 'Pr@0.9': 18.17, 'mIoU': 70.43}))
