# Table 3c: TopK of LMVSD.
_base_ = './lmvsd.py'
_base_.model.distillation[0].top_k = 0.25
test_cfg = dict(paper=dict(val={'Pr@0.5': 83.21, 'Pr@0.7': 73.41, 'Pr@0.9': 20.61, 'mIoU': 71.09}))
