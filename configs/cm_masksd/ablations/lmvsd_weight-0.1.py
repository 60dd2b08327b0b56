# Table 3a: loss weight of LMVSD.
_base_ = './baseline.py'
model = dict(distillation=[dict(type='LMVSD', top_k=0.5, mask_ratio=0.25, loss_weight=0.1, shared=False)])
test_cfg = dict(paper=dict(val={'Pr@0.5': 83.20, 'Pr@0.7': 71.88, 'Pr@0.9': 19.40, 'mIoU': 70.93}))
