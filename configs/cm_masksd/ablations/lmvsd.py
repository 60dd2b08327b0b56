# Tables 2 to 5: LMVSD alone, unshared.
_base_ = './baseline.py'
model = dict(distillation=[dict(type='LMVSD', top_k=0.5, mask_ratio=0.25, loss_weight=0.75, shared=False)])
test_cfg = dict(paper=dict(val={'Pr@0.5': 83.90, 'Pr@0.7': 73.54, 'Pr@0.9': 20.08, 'mIoU': 71.45}))
