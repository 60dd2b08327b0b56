# The model and data of the controls, trained in bfloat16, which is faster on the processor that the runs had.
_base_ = '../controls/model.py'
optim_wrapper = dict(type='AutocastOptimWrapper')
