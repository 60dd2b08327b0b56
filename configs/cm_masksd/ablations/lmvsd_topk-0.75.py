# Table 3c: TopK of LMVSD.
_base_ = './lmvsd.py'
_base_.model.distillation[0].top_k = 0.75
test_cfg = dict(paper=dict(val={'Pr@0.5': 82.88, 'Pr@0.7': 73.13, 'Pr@0.9': 19.68, 'mIoU': 70.93}))
