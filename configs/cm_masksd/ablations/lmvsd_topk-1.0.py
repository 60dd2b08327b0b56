# Table 3c: TopK of LMVSD.
_base_ = './lmvsd.py'
_base_.model.distillation[0].top_k = 1.0
test_cfg = dict(paper=dict(val={'Pr@0.5': 83.08, 'Pr@0.7': 73.13, 'Pr@0.9': 20.77, 'mIoU': 71.01}))
