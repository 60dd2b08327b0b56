# Tables 2 and 5: both branches, shared: the final model.
_base_ = './baseline.py'
model = dict(
    distillation=[
        dict(type='LMVSD', top_k=0.5, mask_ratio=0.25, loss_weight=0.75, shared=True),
        dict(type='VMLSD', top_k=0.5, mask_ratio=0.1, loss_weight=0.1, shared=True),
    ]
)
test_cfg = dict(paper=dict(val={'Pr@0.5': 83.29, 'Pr@0.7': 73.15, 'Pr@0.9': 21.45, 'mIoU': 71.68}))
