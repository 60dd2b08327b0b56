# Table 4c: TopK of VMLSD.
_base_ = './baseline.py'
model = dict(
    distillation=[dict(type='VMLSD', top_k=0.25, mask_ratio=0.1, loss_weight=0.1, shared=False, rounding='stochastic')]
)
test_cfg = dict(paper=dict(val={'Pr@0.5': 83.22, 'Pr@0.7': 72.12, 'Pr@0.9': 18.18, 'mIoU': 70.68}))
