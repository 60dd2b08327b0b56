# Table 3a: loss weight of LMVSD.
_base_ = './baseline.py'
model = dict(distillation=[dict(type='LMVSD', top_k=0.5, mask_ratio=0.25, loss_weight=1.0, shared=False)])
test_cfg = dict(paper=dict(val={'Pr@0.5': 82.63, 'Pr@0.7': 72.53, 'Pr@0.9': 20.79, 'mIoU': 70.72}))
