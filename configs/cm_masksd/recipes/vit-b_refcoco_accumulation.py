# The paper's batch of 32 on two GPUs: a step is taken on 4 batches of 4 on each. Batch norms see 8 expressions.
_base_ = '../vit-b_refcoco.py'
optim_wrapper = dict(accumulative_counts=4)
