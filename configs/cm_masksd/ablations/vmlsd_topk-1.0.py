# Table 4c: TopK of VMLSD.
_base_ = './baseline.py'
model = dict(
    distillation=[dict(type='VMLSD', top_k=1.0, mask_ratio=0.1, loss_weight=0.1, shared=False, rounding='stochastic')]
)
test_cfg = dict(paper=dict(val={'Pr@0.5': 82.92, 'Pr@0.7': 71.66, 'Pr@0.9': 18.32, 'mIoU': 70.57}))
