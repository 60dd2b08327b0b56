# LAVT with Swin-T, whose widths are Swin-S's.
_base_ = './lavt_swin-s_refcoco.py'
model = dict(backbone=dict(architecture='tiny', pretrained='pretrain/swin_tiny_patch4_window7_224.pth'))
