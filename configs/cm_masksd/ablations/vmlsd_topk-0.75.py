# Table 4c: TopK of VMLSD.
_base_ = './vmlsd.py'
_base_.model.distillation[0].top_k = 0.75
test_cfg = dict(paper=dict(val={'Pr@0.5': 82.66, 'Pr@0.7': 71.09, 'Pr@0.9': 18.07, 'mIoU': 70.23}))
