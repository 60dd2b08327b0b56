# Table 3c: TopK of LMVSD.
_base_ = './baseline.py'
model = dict(distillation=[dict(type='LMVSD', top_k=0.25, mask_ratio=0.25, loss_weight=0.75, shared=False)])
test_cfg = dict(paper=dict(val={'Pr@0.5': 83.21, 'Pr@0.7': 73.41, 'Pr@0.9': 20.61, 'mIoU': 71.09}))
