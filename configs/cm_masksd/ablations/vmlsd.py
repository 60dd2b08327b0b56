# Tables 2 to 5: VMLSD alone, unshared. All ablations with VMLSD round alike: ../README.md.
_base_ = './baseline.py'
model = dict(
    distillation=[dict(type='VMLSD', top_k=0.5, mask_ratio=0.1, loss_weight=0.1, shared=False, rounding='stochastic')]
)
test_cfg = dict(paper=dict(val={'Pr@0.5': 83.09, 'Pr@0.7': 71.77, 'Pr@0.9': 18.64, 'mIoU': 70.98}))
