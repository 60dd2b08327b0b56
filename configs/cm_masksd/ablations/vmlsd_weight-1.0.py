# Table 4a: loss weight of VMLSD.
_base_ = './baseline.py'
model = dict(distillation=[dict(type='VMLSD', top_k=0.5, mask_ratio=0.1, loss_weight=1.0, shared=False)])
test_cfg = dict(paper=dict(val={'Pr@0.5': 81.07, 'Pr@0.7': 70.25, 'Pr@0.9': 17.76, 'mIoU': 69.28}))
