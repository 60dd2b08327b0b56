# Table 4a: loss weight of VMLSD.
_base_ = './baseline.py'
model = dict(distillation=[dict(type='VMLSD', top_k=0.5, mask_ratio=0.1, loss_weight=0.25, shared=False)])
test_cfg = dict(paper=dict(val={'Pr@0.5': 83.02, 'Pr@0.7': 71.40, 'Pr@0.9': 18.69, 'mIoU': 70.41}))
