# Table 4c: TopK of VMLSD.
_base_ = './vmlsd.py'
_base_.model.distillation[0].top_k = 1.0
test_cfg = dict(paper=dict(val={'Pr@0.5': 82.92, 'Pr@0.7': 71.66, 'Pr@0.9': 18.32, 'mIoU': 70.57}))
