# Table 3a: loss weight of LMVSD.
_base_ = './baseline.py'
model = dict(distillation=[dict(type='LMVSD', top_k=0.5, mask_ratio=0.25, loss_weight=0.25, shared=False)])
test_cfg = dict(paper=dict(val={'Pr@0.5': 83.73, 'Pr@0.7': 73.03, 'Pr@0.9': 19.74, 'mIoU': 71.36}))
