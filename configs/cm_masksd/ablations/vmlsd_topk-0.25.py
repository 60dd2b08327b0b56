# Table 4c: TopK of VMLSD.
_base_ = './vmlsd.py'
_base_.model.distillation[0].top_k = 0.25
test_cfg = dict(paper=dict(val={'Pr@0.5': 83.22, 'Pr@0.7': 72.12, 'Pr@0.9': 18.18, 'mIoU': 70.68}))
