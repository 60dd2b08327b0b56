# Table 4a: loss weight of VMLSD.
_base_ = './baseline.py'
model = dict(distillation=[dict(type='VMLSD', top_k=0.5, mask_ratio=0.1, loss_weight=0.75, shared=False)])
test_cfg = dict(paper=dict(val={'Pr@0.5': 81.12, 'Pr@0.7': 69.92, 'Pr@0.9': 18.17, 'mIoU': 69.47}))
