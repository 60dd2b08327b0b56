# Table 5: LMVSD alone, shared.
_base_ = './baseline.py'
model = dict(distillation=[dict(type='LMVSD', top_k=0.5, mask_ratio=0.25, loss_weight=0.75, shared=True)])
test_cfg = dict(paper=dict(val={'Pr@0.5': 83.47, 'Pr@0.7': 73.02, 'Pr@0.9': 18.53, 'mIoU': 71.13}))
