# Table 3c: TopK of LMVSD.
_base_ = './baseline.py'
model = dict(distillation=[dict(type='LMVSD', top_k=1.0, mask_ratio=0.25, loss_weight=0.75, shared=False)])
test_cfg = dict(paper=dict(val={'Pr@0.5': 83.08, 'Pr@0.7': 73.13, 'Pr@0.9': 20.77, 'mIoU': 71.01}))
