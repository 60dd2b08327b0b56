# Tables 2 and 5: both branches, shared: the final model, but for the rounding (../README.md).
_base_ = './lmvsd-vmlsd.py'
_base_.model.distillation[0].shared = _base_.model.distillation[1].shared = True
test_cfg = dict(paper=dict(val={'Pr@0.5': 83.29, 'Pr@0.7': 73.15, 'Pr@0.9': 21.45, 'mIoU': 71.68}))
