# Table 3b: mask ratio of LMVSD.
_base_ = './baseline.py'
model = dict(distillation=[dict(type='LMVSD', top_k=0.5, mask_ratio=0.5, loss_weight=0.75, shared=False)])
test_cfg = dict(paper=dict(val={'Pr@0.5': 83.37, 'Pr@0.7': 73.34, 'Pr@0.9': 20.27, 'mIoU': 71.24}))
