# DETRIS with masked self-distillation: one block more.
_base_ = './detris_vit-b_refcoco.py'
model = dict(
    distillation=[
        dict(type='LMVSD', top_k=0.5, mask_ratio=0.25, loss_weight=0.75),
        dict(type='VMLSD', top_k=0.5, mask_ratio=0.1, loss_weight=0.1),
    ]
)
