# Table 4b: mask ratio of VMLSD.
_base_ = './baseline.py'
model = dict(
    distillation=[dict(type='VMLSD', top_k=0.5, mask_ratio=0.5, loss_weight=0.1, shared=False, rounding='stochastic')]
)
test_cfg = dict(paper=dict(val={'Pr@0.5': 82.82, 'Pr@0.7': 71.92, 'Pr@0.9': 17.97, 'mIoU': 70.51}))
