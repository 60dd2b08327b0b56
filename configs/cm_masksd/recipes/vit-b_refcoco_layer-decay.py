# Layer-wise decay of the towers' learning rates: each block learns 0.9 times as fast as the one above it, embeddings
# slowest; neck, head and branches learn ten times as fast as the topmost, as in CRIS.
_base_ = '../vit-b_refcoco.py'
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.9, head_lr_mult=10))
