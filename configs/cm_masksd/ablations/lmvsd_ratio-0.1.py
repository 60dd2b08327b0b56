# Table 3b: mask ratio of LMVSD.
_base_ = './baseline.py'
model = dict(distillation=[dict(type='LMVSD', top_k=0.5, mask_ratio=0.1, loss_weight=0.75, shared=False)])
test_cfg = dict(paper=dict(val={'Pr@0.5': 83.18, 'Pr@0.7': 73.39, 'Pr@0.9': 19.83, 'mIoU': 71.12}))
