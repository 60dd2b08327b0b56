# LAVT with Swin-S.
_base_ = './lavt_swin-b_refcoco.py'
model = dict(
    backbone=dict(architecture='small', pretrained='pretrain/swin_small_patch4_window7_224.pth'),
    neck=dict(in_channels=(96, 192, 384, 768)),
    decode_head=dict(channels=384),
)
