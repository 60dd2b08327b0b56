# Table 5: VMLSD alone, shared.
_base_ = './baseline.py'
model = dict(distillation=[dict(type='VMLSD', top_k=0.5, mask_ratio=0.1, loss_weight=0.1, shared=True)])
test_cfg = dict(paper=dict(val={'Pr@0.5': 83.29, 'Pr@0.7': 71.80, 'Pr@0.9': 18.28, 'mIoU': 70.88}))
