# Weights, gradients and Adam's state shared out among the GPUs (FSDP2), for models that a GPU does not hold whole. The
# steps are DDP's but for rounding, checkpoints are whole files as ever; on one process it is a plain training.
_base_ = '../vit-l_refcoco.py'
model_wrapper_cfg = dict(type='cmmasksd.FullyShardedModel')
