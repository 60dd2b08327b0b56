# Table 5: both branches, unshared.
_base_ = './baseline.py'
model = dict(
    distillation=[
        dict(type='LMVSD', top_k=0.5, mask_ratio=0.25, loss_weight=0.75, shared=False),
        dict(type='VMLSD', top_k=0.5, mask_ratio=0.1, loss_weight=0.1, shared=False, rounding='stochastic'),
    ]
)
test_cfg = dict(paper=dict(val={'Pr@0.5': 83.26, 'Pr@0.7': 72.24, 'Pr@0.9': 19.03, 'mIoU': 71.26}))
